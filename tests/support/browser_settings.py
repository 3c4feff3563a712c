"""Settings of the site that a browser looks at: nothing may run or style that is not a file of the site."""

from __future__ import annotations

from sample_project.settings import *  # noqa: F403
from sample_project.settings import MIDDLEWARE

MIDDLEWARE = ["tests.support.strict_policy.strict_policy", *MIDDLEWARE]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
