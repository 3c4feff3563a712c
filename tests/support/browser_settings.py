"""Settings of the site in the browser tests: scripts and styles come only from files of the site."""

from __future__ import annotations

from sample_project.settings import *  # noqa: F403
from sample_project.settings import MIDDLEWARE

MIDDLEWARE = ["tests.support.strict_policy.strict_policy", *MIDDLEWARE]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
BEMI_ALERTS = True
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
