"""What docs/querying.md says works: its examples are run, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from bemi_django import conf
from tests.integration.conftest import Drain

PAGE = (Path(__file__).parents[2] / "docs/querying.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


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
    assert len(python) == 10
    with transaction.atomic():
        for statement in blocks("sql"):
            with connection.cursor() as cursor:
                cursor.execute(statement)
        transaction.set_rollback(True)


def test_the_commands_are_there(drain: Drain) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        with pytest.raises(CommandError, match="does 'bemi run' run"):
            call_command(*line.removeprefix("python manage.py ").split())
