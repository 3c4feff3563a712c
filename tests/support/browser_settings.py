"""Settings of the site in the browser tests: scripts and styles come only from files of the site."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sample_project.settings import *  # noqa: F403
from sample_project.settings import MIDDLEWARE

MIDDLEWARE = ["tests.support.strict_policy.strict_policy", *MIDDLEWARE]
# The language of the browser.
MIDDLEWARE.insert(
    MIDDLEWARE.index("django.middleware.common.CommonMiddleware"), "django.middleware.locale.LocaleMiddleware"
)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
BEMI_ALERTS = True
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
# Nothing was archived yet.
BEMI_ARCHIVE = Path(tempfile.gettempdir()) / "bemi-browser-archive"
