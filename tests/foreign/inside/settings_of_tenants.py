"""Settings of django-tenants' tests on the suite's server."""

from __future__ import annotations

from dts_test_project.settings import *  # noqa: F403
from dts_test_project.settings import INSTALLED_APPS, MIDDLEWARE, SHARED_APPS

from tests.foreign.inside.hostile import IS_OURS

if IS_OURS:
    SHARED_APPS = (*SHARED_APPS, "bemi_django")
    INSTALLED_APPS = [*INSTALLED_APPS, "bemi_django"]
    MIDDLEWARE = [*MIDDLEWARE, "bemi_django.middleware.BemiMiddleware"]
TEST_RUNNER = "tests.foreign.inside.recording_runner.RecordingRunner"
