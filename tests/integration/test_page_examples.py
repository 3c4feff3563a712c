"""What the other pages of docs/ say works: their examples are run, each page in a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.pages import blocks
from tests.support.paths import ROOT

# What the examples of a page stand on in a reader's project.
PROJECTS = {
    "admin": """
from django.contrib import admin
from sample_project.todos.models import Tag, Todo
for model in (Tag, Todo):
    if admin.site.is_registered(model):
        admin.site.unregister(model)
""",
    "context": """
import os
from fastapi import FastAPI
os.environ["BEMI_CONTEXT_KEY"] = "0123456789abcdef"
app = FastAPI()
flask_app = type("Flask", (), {"before_request": staticmethod(id), "teardown_request": staticmethod(id)})
DATABASE_URL = "postgresql+psycopg2:///x"
work = str
""",
    "handlers": """
import sys
import tests.shop.models
sys.modules["shop"], sys.modules["shop.models"] = tests.shop, tests.shop.models
""",
    "api": "",
    "events": """
import sys
import tests.shop.models
sys.modules["shop"], sys.modules["shop.models"] = tests.shop, tests.shop.models
""",
    "own-pages": "",
    "masking": """
import os
os.environ["BEMI_MASK_KEY"] = "0123456789abcdef"
""",
    "encryption": """
import os
import secrets
from bemi_django.models import Change
os.environ["BEMI_ENCRYPTION_KEY"] = "0123456789abcdef"
change = Change(after={"email": "ann@example.org"})
""",
    "alerts": "",
    "retention": "",
    "scaling": """
import os
os.environ.update(PGDATABASE="shop", LOG_HOST="log.internal", LOG_ORDERS_HOST="log2.internal", BEMI_SINK="nats://queue.internal/bemi")
""",
    "tamper-evidence": "",
    "selection": """
from django.db import models
__name__ = "tests.shop.documented"
""",
}
EXECUTED_ELSEWHERE = {
    "hosting",
    "querying",
    "sqlalchemy",
    "tenants",
    "testing",
    "time-travel",
    "without-django",
}


@pytest.mark.parametrize("page", PROJECTS)
def test_the_examples_of_a_page_run_in_a_project(page: str) -> None:
    for package in ("celery", "fastapi", "sqlalchemy"):
        pytest.importorskip(package, reason="the page needs it")
    code = "\n".join(["import django", "django.setup()", PROJECTS[page], *blocks("python", page)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_no_page_has_examples_that_are_not_executed() -> None:
    pages = {page.stem for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text()}
    assert pages == {*PROJECTS, *EXECUTED_ELSEWHERE}
