"""Settings of the test suite: the sample project and the test apps, on the server that the plugin starts."""

from __future__ import annotations

from sample_project.settings import *  # noqa: F403
from sample_project.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.shop"]
if "aldjemy" not in INSTALLED_APPS:
    # aldjemy knows no arrays of arrays and few of the other shapes.
    INSTALLED_APPS += ["django.contrib.postgres", "tests.shapes"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Processes that tests start connect to this one as it is: nobody creates test databases in them.
DATABASES["other"] = {**DATABASES["default"], "TEST": {"NAME": "test_other"}}

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework", "rest_framework.authtoken"]
