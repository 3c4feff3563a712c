"""The moment that a user has chosen, kept in a signed cookie: requests without it cost nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from bemi_django.models import Change
from bemi_django.time_travel import JustBefore
from bemi_django.time_travel.moments import PastMoment

#: The cookie.
COOKIE = "bemi_moment"
_SALT = "bemi_django.site_past"
#: Seconds after which one is back in the present.
_LONGEST = 12 * 3600


class ChosenMoment(NamedTuple):
    """A moment, chosen in an admin site by a user.

    Attributes:
        user: The key of the user as text; nobody else's cookie is accepted.
        site: The name of the admin site.
        time: The moment. It is aware.
        change: The change just before whose transaction it is, if it was chosen so.
    """

    user: str
    site: str
    time: datetime
    change: UUID | None = None

    def exact(self) -> PastMoment:
        """Return the moment for ``as_of()``. Raises ``Change.DoesNotExist`` if its change is gone."""
        return self.time if self.change is None else JustBefore(Change.objects.get(pk=self.change))

    def keep(self, response: HttpResponseBase) -> None:
        """Set the cookie."""
        value = [self.user, self.site, self.time.isoformat(), self.change and str(self.change)]
        response.set_cookie(
            COOKIE,
            signing.dumps(value, salt=_SALT),
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
            **_scope(),
        )


def chosen_in(request: HttpRequest) -> ChosenMoment | None:
    """Return the moment that a request's cookie has, or None if it is not one of ours or too old."""
    try:
        user, site, time, change = signing.loads(request.COOKIES[COOKIE], salt=_SALT, max_age=_LONGEST)
    except (KeyError, ValueError, signing.BadSignature):
        return None
    found = parse_datetime(time)
    return None if found is None else ChosenMoment(user, site, found, change and UUID(change))


def forget(response: HttpResponseBase) -> None:
    """Delete the cookie."""
    response.delete_cookie(COOKIE, samesite="Lax", **_scope())


def aware(moment: datetime) -> datetime:
    """Return a moment from a form, which is naive without ``USE_TZ``, as an aware one."""
    if timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone())


def _scope() -> dict[str, Any]:
    return {"path": settings.SESSION_COOKIE_PATH, "domain": settings.SESSION_COOKIE_DOMAIN}
