"""Settings of Wagtail's tests on the suite's server."""

from __future__ import annotations

import os

from wagtail.test.settings import *  # noqa: F403
from wagtail.test.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE

from tests.foreign.inside.foreign_database import database
from tests.foreign.inside.hostile import IS_OURS

DATABASES["default"] = database("wagtail")
# A folder of the run, so that the names of files do not depend on another run.
MEDIA_ROOT = os.path.join(os.path.dirname(os.environ["FOREIGN_OUTCOMES"]), "media")
if IS_OURS:
    INSTALLED_APPS = [*INSTALLED_APPS, "bemi_django"]
    MIDDLEWARE = [*MIDDLEWARE, "bemi_django.middleware.BemiMiddleware"]
TEST_RUNNER = "tests.foreign.inside.recording_runner.RecordingRunner"
