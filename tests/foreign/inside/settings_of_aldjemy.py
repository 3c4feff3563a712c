"""Settings of aldjemy's tests on the suite's server."""

from __future__ import annotations

from test_project.settings import *  # noqa: F403
from test_project.settings import DATABASES, INSTALLED_APPS

from tests.foreign.inside.foreign_database import database
from tests.foreign.inside.hostile import IS_OURS

DATABASES["pg"] = database("aldjemy")
INSTALLED_APPS = [*INSTALLED_APPS, *(["bemi_django"] if IS_OURS else [])]
TEST_RUNNER = "tests.foreign.inside.recording_runner.RecordingRunner"
