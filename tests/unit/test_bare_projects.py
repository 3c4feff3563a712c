"""Projects that have little installed beside the package start, check, and load its template tags."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tests.support.polling import DEADLINE

PROJECT = """
import importlib, pkgutil, sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="for-tests-only",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=sys.argv[1:],
    MIDDLEWARE=["bemi_django.middleware.BemiMiddleware"],
    ROOT_URLCONF="bemi_django.urls",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()
from django.core.management import call_command
from django.template import engines
call_command("check")
assert engines["django"].from_string("{% load audit %}loaded").render({}) == "loaded"
import bemi_django.admin
for part in ("access", "display", "pages", "search", "saved_views"):
    package = importlib.import_module(f"bemi_django.admin.{part}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    "apps",
    [
        ["bemi_django"],
        ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages", "bemi_django"],
        ["bemi_django", "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    ],
    ids=["nothing", "no-admin-and-no-sessions", "no-admin-and-no-messages"],
)
def test_a_project_without_the_admin_starts(apps: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROJECT, *apps],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
