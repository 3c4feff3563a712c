"""The settings of the tests, and an app with handlers."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.listeners"]
BEMI_SLOT = "bemi_test"
