"""Settings of Django's own suite; ``runtests.py`` adds the rest."""

from __future__ import annotations

import __main__
from tests.foreign.inside.foreign_database import database
from tests.foreign.inside.hostile import IS_OURS

DATABASES = {"default": database("django"), "other": database("django2")}
SECRET_KEY = "foreign"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "tests.foreign.inside.recording_runner.RecordingRunner"

# runtests.py replaces INSTALLED_APPS by a list of its own.
if IS_OURS and hasattr(__main__, "ALWAYS_INSTALLED_APPS"):
    __main__.ALWAYS_INSTALLED_APPS.append("bemi_django")
