"""What the pages of docs/ say works: their examples are run, in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings

from bemi_django import conf
from bemi_django.schema import tracking
from sample_project.todos.models import Todo
from tests.support.paths import ROOT
from tests.support.pipeline import Drain, Pipeline


def blocks(language: str, page: str = "querying") -> list[str]:
    text = (ROOT / f"docs/{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def url() -> Any:
    """Of the test's database, for an engine."""
    engine = pytest.importorskip("sqlalchemy.engine", reason="SQLAlchemy is an optional part")
    parameters = conf.connection_parameters("default")
    names = {"username": "user", "password": "password", "host": "host", "port": "port"}
    parts = {name: parameters[ours] for name, ours in names.items() if ours in parameters}
    database = connection.settings_dict["NAME"]
    return engine.URL.create("postgresql+psycopg2", database=database, **parts)


def test_the_examples_work(drain: Drain) -> None:
    names: dict[str, Any] = {"DATABASE_URL": url()}
    python = blocks("python")
    try:
        for number, block in enumerate(python):
            exec(compile(block, f"docs/querying.md, example {number + 1}", "exec"), names)
            drain()
    finally:
        names["engine"].dispose()
    assert len(python) == 13
    with transaction.atomic():
        for statement in blocks("sql"):
            with connection.cursor() as cursor:
                cursor.execute(statement)
        transaction.set_rollback(True)


def test_the_commands_are_there(drain: Drain) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        with pytest.raises(CommandError, match="'bemi run' is running"):
            call_command(*line.removeprefix("python manage.py ").split())


def test_the_past_is_as_the_page_says(transactional_db: None, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    tracking.sync()
    Pipeline.of_project("bemi_docs").run()
    with Pipeline.of_project("bemi_docs").worker():
        for number, block in enumerate(blocks("python", "time-travel")):
            exec(compile(block, f"docs/time-travel.md, example {number + 1}", "exec"), names)
    assert capsys.readouterr().out == "Sleep\n"
    assert [todo.task for todo in Todo.objects.all()] == ["Sleep"]
    Pipeline.of_project("bemi_docs").drop()


def test_the_bridge_does_what_its_page_says(drain: Drain) -> None:
    pytest.importorskip("sqlalchemy", minversion="2.0", reason="The bridge needs SQLAlchemy 2.")
    todo = Todo.objects.create(task="Sleep")
    session_example, setting_example = blocks("python", "sqlalchemy")
    names: dict[str, Any] = {}
    exec(compile(session_example, "docs/sqlalchemy.md, example 1", "exec"), names)
    assert [tag.name for tag in todo.tags.all()] == ["home"]
    exec(compile(setting_example, "docs/sqlalchemy.md, example 2", "exec"), names)
    with override_settings(BEMI_ENGINE_OPTIONS=names["BEMI_ENGINE_OPTIONS"]):
        assert conf.engine_options("default") == {"pool_size": 10, "echo": True}


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
DATABASE_URL = "postgresql+psycopg2:///x"
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
os.environ.update(PGDATABASE="shop", LOG_HOST="log.internal", BEMI_SINK="nats://queue.internal/bemi")
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
    if not apps.is_installed("tests.shop"):
        pytest.skip("tests.shop is not installed: aldjemy")
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
