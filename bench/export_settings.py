"""The settings of the other topics, and the admin."""

from __future__ import annotations

from bench.settings import *  # noqa: F403 - as Django's settings are extended
from bench.settings import INSTALLED_APPS

INSTALLED_APPS = ["django.contrib.admin", *INSTALLED_APPS]
