"""Settings of the test suite: the sample project's and a shop, on the server that the plugin starts."""

from __future__ import annotations

from sample_project.settings import *  # noqa: F403
from sample_project.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.shop"]
if "aldjemy" not in INSTALLED_APPS:
    # It knows no arrays of arrays, nor most of what else is in there.
    INSTALLED_APPS += ["django.contrib.postgres", "tests.shapes"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# In processes of their own, where no test has made it, there is one all the same: checks connect to it.
DATABASES["other"] = {**DATABASES["default"], "TEST": {"NAME": "test_other"}}

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework", "rest_framework.authtoken"]
