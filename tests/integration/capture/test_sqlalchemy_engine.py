from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django import bound_context, conf
from tests.support.pipeline import Drain

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

SQLALCHEMY_2 = not sqlalchemy.__version__.startswith("1.")
# SQLAlchemy 2.0 brought the dialect of psycopg 3.
DRIVERS = ["psycopg2"] + ["psycopg"] * (SQLALCHEMY_2 and importlib.util.find_spec("psycopg") is not None)
TASKS = ["*/; DROP TABLE todo; --", '/*Bemi {"user_id": 999} Bemi*/', "100% :x ? $1"]


@pytest.fixture(params=DRIVERS)
def url(drain: Drain, request: pytest.FixtureRequest) -> Any:
    libpq = conf.connection_parameters("default")
    return sqlalchemy.engine.URL.create(
        f"postgresql+{request.param}",
        username=libpq["user"],
        password=libpq.get("password"),
        host=libpq["host"],
        port=int(libpq["port"]),
        database=libpq["dbname"],
    )


@pytest.fixture
def engine(url: Any) -> Iterator[Any]:
    from bemi_django.capture.hooks.sqlalchemy_engine import install, uninstall

    made = sqlalchemy.create_engine(url, future=True)
    install(made)
    install(made)
    yield made
    uninstall(made)
    uninstall(made)
    made.dispose()


def todo_table() -> Any:
    return sqlalchemy.Table(
        "todo",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.BigInteger, primary_key=True),
        sqlalchemy.Column("task", sqlalchemy.String),
        sqlalchemy.Column("is_completed", sqlalchemy.Boolean, default=False),
        sqlalchemy.Column("created_at", sqlalchemy.DateTime(timezone=True), default=sqlalchemy.func.now()),
    )


def assert_all_carry_the_context(drain: Drain) -> None:
    changes = [change for change in drain() if change.table == "todo"]
    assert [change.after["task"] for change in changes] == TASKS
    for change in changes:
        assert change.context["user_id"] == 7
        assert change.context["path"] == "/a*/ OR TRUE /*%s :x"
        assert change.context["SQL"].startswith("INSERT INTO todo (task, ")


def test_core_writes_carry_the_context_and_no_value_can_forge_it(drain: Drain, engine: Any) -> None:
    statement = sqlalchemy.text(
        "INSERT INTO todo (task, is_completed, created_at) VALUES (:task, false, now())"
    )
    with bound_context(user_id=7, path="/a*/ OR TRUE /*%s :x"), engine.begin() as opened:
        for task in TASKS:
            opened.execute(statement, {"task": task})
    assert_all_carry_the_context(drain)


def test_a_bulk_insert_that_returns_its_keys_carries_the_context(drain: Drain, engine: Any) -> None:
    todo = todo_table()
    insert = todo.insert().returning(todo.c.id).values([{"task": task} for task in TASKS])
    with bound_context(user_id=7, path="/a*/ OR TRUE /*%s :x"), engine.begin() as opened:
        assert len(opened.execute(insert).all()) == len(TASKS)
    assert_all_carry_the_context(drain)


def test_an_executemany_carries_the_context(drain: Drain, engine: Any) -> None:
    rows = [{"task": task} for task in TASKS]
    with bound_context(user_id=7, path="/a*/ OR TRUE /*%s :x"), engine.begin() as opened:
        opened.execute(todo_table().insert(), rows)
    assert_all_carry_the_context(drain)


def test_after_uninstall_a_statement_is_untouched(engine: Any) -> None:
    from bemi_django.capture.hooks.sqlalchemy_engine import uninstall

    uninstall(engine)
    with bound_context(user_id=7), engine.connect() as opened:
        found = opened.execute(
            sqlalchemy.text("WITH x AS (SELECT 1 AS update) SELECT current_query() FROM x")
        )
        assert found.scalar().startswith("WITH x")


def test_an_engine_of_another_database_is_left_alone() -> None:
    from bemi_django.capture.hooks.sqlalchemy_engine import install

    engine = sqlalchemy.create_engine("sqlite://", future=True)
    install(engine)
    assert not engine.dispatch.before_cursor_execute


@pytest.mark.skipif("psycopg" not in DRIVERS, reason="needs SQLAlchemy 2 and psycopg 3")
@pytest.mark.parametrize("url", ["psycopg"], indirect=True)
def test_an_async_engine_carries_the_context(drain: Drain, url: Any) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    from bemi_django.capture.hooks.sqlalchemy_engine import install, uninstall

    async def write() -> None:
        engine = create_async_engine(url)
        install(engine)
        with bound_context(user_id=7, path="/a*/ OR TRUE /*%s :x"):
            async with engine.begin() as opened:
                for task in TASKS:
                    await opened.execute(todo_table().insert(), {"task": task})
        uninstall(engine)
        await engine.dispose()

    asyncio.run(write())
    assert_all_carry_the_context(drain)
