"""Settings of the sample site in the theme django-jazzmin."""

from __future__ import annotations

from sample_project.settings import *  # noqa: F403
from sample_project.settings import INSTALLED_APPS

INSTALLED_APPS = ["jazzmin", *INSTALLED_APPS]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
BEMI_ALERTS = True
