"""Settings of the shop: those of the sample project, with another site."""

from __future__ import annotations

from sample_project.settings import *  # noqa: F403
from sample_project.settings import INSTALLED_APPS as _INSTALLED_APPS

INSTALLED_APPS = [*_INSTALLED_APPS, "sample_project.store"]
ROOT_URLCONF = "sample_project.store.urls"
BEMI_CONTEXT_FUNCTION = "sample_project.store.context.request_context"
MEDIA_URL = "media/"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
LOGIN_REDIRECT_URL = "/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
