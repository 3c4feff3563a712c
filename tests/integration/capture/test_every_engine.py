"""Engines that nobody has named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django import Bemi, bound_context
from tests.support.pipeline import Drain
from tests.support.processes import database_url

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

INSERT = "INSERT INTO todo (task, is_completed, created_at) VALUES ('x', false, now())"


@pytest.fixture
def engine() -> Iterator[Any]:
    from bemi_django.capture.hooks import every_engine

    made = sqlalchemy.create_engine(database_url("postgresql+psycopg2"), future=True)
    yield made
    made.dispose()
    every_engine.uninstall()
    every_engine.uninstall()


def write(engine: Any) -> None:
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(INSERT))


@pytest.mark.parametrize("is_named", [False, True])
def test_every_engine_has_the_context_once(drain: Drain, engine: Any, is_named: bool) -> None:
    from bemi_django.capture.hooks import sqlalchemy_engine

    if is_named:
        sqlalchemy_engine.install(engine)
    with bound_context():
        Bemi.set_context({"process": "MyWorker"})
        write(engine)
        write(engine.execution_options(isolation_level="SERIALIZABLE"))
        write(engine)
    contexts = [change.context for change in drain()]
    assert contexts == [{"process": "MyWorker", "SQL": INSERT}] * 3


def test_engines_of_other_databases_are_left_alone(engine: Any) -> None:
    with bound_context():
        Bemi.set_context({"process": "MyWorker"})
        other = sqlalchemy.create_engine("sqlite://", future=True)
        with other.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
        assert not other.dispatch.before_cursor_execute
        other.dispose()
