"""Settings of the test suite: the sample project's, on the server that conftest starts."""

from __future__ import annotations

from sample_project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
