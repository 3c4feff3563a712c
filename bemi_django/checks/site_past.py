"""Check where ``TimeTravelMiddleware`` stands, and what is to stay in the present."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from bemi_django.site_past.departure import MIDDLEWARE, is_installed
from bemi_django.site_past.present_tables import present_tables

#: What a request must have passed before: who the user is, and what would hide the banner or the past.
_BEFORE = (
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
)
#: It would answer with a page of the present.
_BEHIND = "django.middleware.cache.FetchFromCacheMiddleware"


def check_site_past() -> list[CheckMessage]:
    """Return an error for each thing that keeps the site from being shown as it was."""
    if not is_installed():
        return []
    found: list[CheckMessage] = []
    paths = list(settings.MIDDLEWARE)
    own = paths.index(MIDDLEWARE)
    if "django.contrib.auth.middleware.AuthenticationMiddleware" not in paths:
        found.append(_error("TimeTravelMiddleware needs AuthenticationMiddleware.", "Add it before."))
    for path in _BEFORE:
        if path in paths and paths.index(path) > own:
            hint = "Put TimeTravelMiddleware behind it, best at the end of MIDDLEWARE."
            found.append(_error(f"TimeTravelMiddleware precedes {path}.", hint))
    if _BEHIND in paths and paths.index(_BEHIND) < own:
        hint = "Put TimeTravelMiddleware before it: pages that it has kept are those of the present."
        found.append(_error(f"TimeTravelMiddleware is behind {_BEHIND}.", hint))
    try:
        present_tables()
    except ImproperlyConfigured as error:
        found.append(_error(f"{error}.", "Write labels such as 'otp_totp' or 'accounts.Device'."))
    return found


def _error(message: str, hint: str) -> CheckMessage:
    return Error(message, hint=hint, id="bemi.E025")
