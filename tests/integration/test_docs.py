"""What the pages on queries, the past and SQLAlchemy say works: their examples are run, in order."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings

from bemi_django import conf
from bemi_django.schema import tracking
from sample_project.todos.models import Todo
from tests.support.pages import blocks
from tests.support.pipeline import Drain, Pipeline


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
    python = blocks("python", "querying")
    try:
        for number, block in enumerate(python):
            exec(compile(block, f"docs/querying.md, example {number + 1}", "exec"), names)
            drain()
    finally:
        names["engine"].dispose()
    assert len(python) == 13
    with transaction.atomic():
        for statement in blocks("sql", "querying"):
            with connection.cursor() as cursor:
                cursor.execute(statement)
        transaction.set_rollback(True)


def test_the_commands_are_there(drain: Drain) -> None:
    lines = [line for block in blocks("sh", "querying") for line in block.splitlines()]
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
