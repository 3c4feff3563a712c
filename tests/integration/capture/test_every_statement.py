"""Every kind of statement that writes carries the context, through every driver."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from bemi_django import bound_context, conf
from bemi_django.masking.contexts import MASK
from bemi_django.masking.sql_calls import calls_functions
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain

Run = Callable[[Any], None]

#: Each updates the row; one text may hold several statements.
SINGLE = [
    "UPDATE todo SET task = '{}'",
    "EXECUTE set_task('{}')",
    "EXPLAIN (ANALYZE) UPDATE todo SET task = '{}'",
    "EXPLAIN ANALYZE VERBOSE EXECUTE set_task('{}')",
    "EXPLAIN (COSTS OFF, ANALYZE TRUE) WITH x AS (UPDATE todo SET task = '{}' RETURNING 1) TABLE x",
    "(WITH x AS (UPDATE todo SET task = '{}' RETURNING 1) SELECT * FROM x)",
    "((WITH x AS (UPDATE todo SET task = '{}' RETURNING 1) TABLE x))",
    "WITH x AS (SELECT 1) UPDATE todo SET task = '{}'",
    "DO $$ BEGIN UPDATE todo SET task = '{}'; END $$",
    "/* a /* b */ */ -- c\nUPDATE todo SET task = '{}'",
    "UPDATE todo SET task = '{}';",
]
SEVERAL = [
    "; UPDATE todo SET task = '{}'",
    "SELECT 1; UPDATE todo SET task = '{}'",
    "SELECT E'\\'', '\\', $a$;$a$ -- ;'\n; UPDATE todo SET task = '{}'",
    "TABLE todo; UPDATE todo SET task = '{}'",
    "VALUES (1); UPDATE todo SET task = '{}'",
    "SHOW TimeZone; UPDATE todo SET task = '{}'",
    "SET LOCAL statement_timeout = 5000; UPDATE todo SET task = '{}'",
    "LOCK TABLE todo; UPDATE todo SET task = '{}'",
    "CREATE TEMP TABLE c (a int); INSERT INTO todo (task, is_completed, created_at) "
    "SELECT '{}', false, now(); DROP TABLE c",
    "PREPARE other (text) AS UPDATE todo SET task = $1; EXECUTE other('{}'); DEALLOCATE other",
    "DECLARE c CURSOR FOR SELECT 1; UPDATE todo SET task = '{}'; CLOSE c",
]
IN_A_TRANSACTION = ["SAVEPOINT a; UPDATE todo SET task = '{}'; RELEASE a"]
#: These end the transaction, so they are tried outside one.
WITH_A_TRANSACTION = [
    "BEGIN; UPDATE todo SET task = '{}'; COMMIT",
    "START TRANSACTION; SELECT 1; UPDATE todo SET task = '{}'; END",
    "BEGIN; COMMIT; UPDATE todo SET task = '{}'",
]
PREPARE = "PREPARE set_task (text) AS UPDATE todo SET task = $1"


@contextmanager
def django(autocommit: bool) -> Iterator[Run]:
    # A connection of its own, whose prepared statement ends with it.
    with closing(connection.copy()) as opened, opened.cursor() as cursor:
        opened.set_autocommit(autocommit)
        yield cursor.execute
        if not autocommit:
            opened.commit()


@contextmanager
def sqlalchemy(driver: str, autocommit: bool) -> Iterator[Run]:
    module: Any = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
    from bemi_django.capture.hooks.sqlalchemy_engine import install

    if driver.startswith("psycopg3") and module.__version__.startswith("1."):
        pytest.skip("SQLAlchemy 1.4 does not know this driver")
    name, *is_async = driver.replace("psycopg3", "psycopg").split()
    pytest.importorskip(name)
    libpq = conf.connection_parameters("default")
    url = module.engine.URL.create(
        f"postgresql+{name}",
        username=libpq["user"],
        password=libpq.get("password"),
        host=libpq["host"],
        port=int(libpq["port"]),
        database=libpq["dbname"],
    )
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    if not is_async:
        engine = module.create_engine(url, future=True, **options)
        install(engine)
        try:
            with engine.connect() as opened:
                yield opened.exec_driver_sql
                opened.commit()
        finally:
            engine.dispose()
        return
    engine = importlib.import_module("sqlalchemy.ext.asyncio").create_async_engine(url, **options)
    install(engine)
    # Unlike a Runner, a loop runs each coroutine in the context of its caller.
    with closing(asyncio.new_event_loop()) as loop:
        opened = loop.run_until_complete(_started(engine))
        try:
            yield lambda sql: loop.run_until_complete(opened.exec_driver_sql(sql))
            loop.run_until_complete(opened.commit())
        finally:
            loop.run_until_complete(opened.close())
            loop.run_until_complete(engine.dispose())


async def _started(engine: Any) -> Any:
    return await engine.connect().start()


DRIVERS: dict[str, Callable[[bool], AbstractContextManager[Run]]] = {
    "Django": django,
    **{
        name: lambda autocommit, name=name: sqlalchemy(name, autocommit)  # type: ignore[misc]
        for name in ("psycopg2", "psycopg3", "psycopg3 async", "asyncpg async")
    },
}


def statements(driver: str, autocommit: bool) -> list[str]:
    if driver == "asyncpg async":
        return SINGLE
    return SINGLE + SEVERAL + (WITH_A_TRANSACTION if autocommit else IN_A_TRANSACTION)


@pytest.mark.parametrize("autocommit", [False, True], ids=["transaction", "autocommit"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_statement_that_writes_carries_the_context(drain: Drain, driver: str, autocommit: bool) -> None:
    Todo.objects.create(task="x")
    drain()
    tried = statements(driver, autocommit)
    with DRIVERS[driver](autocommit) as run:
        run(PREPARE)
        for number, sql in enumerate(tried):
            with bound_context(user_id=number):
                run(sql.format(number))
    found: dict[str, list[Change]] = {}
    for change in drain():
        assert change.context.get("user_id") == int(change.after["task"]), tried[int(change.after["task"])]
        found.setdefault(change.after["task"], []).append(change)
    assert found.keys() == {str(number) for number in range(len(tried))}
    if driver != "asyncpg async":
        for (first, *_), sql in zip(found.values(), tried, strict=True):
            # A driver that prepares statements leaves the text to the trigger.
            assert first.context["SQL"].endswith(stored(sql.format(first.after["task"])))


def stored(sql: str) -> str:
    """Return the text that the log keeps: what a function or a prepared statement gets may be a secret."""
    return redact_literals(sql, MASK) if calls_functions(sql) else sql


def cursor_of(opened: Any) -> Any:
    """Return a cursor that takes bytes, of which the types of Django know nothing."""
    return opened.cursor()


@pytest.mark.parametrize("sql", SINGLE)
def test_bytes_carry_the_context(drain: Drain, sql: str) -> None:
    Todo.objects.create(task="x")
    drain()
    with closing(connection.copy()) as opened, cursor_of(opened) as cursor, bound_context(user_id=7):
        cursor.execute(PREPARE.encode())
        cursor.execute(sql.format("é*/ %s").encode())
    (change,) = drain()
    assert change.after["task"] == "é*/ %s"
    assert change.context == {"user_id": 7, "SQL": stored(sql.format("é*/ %s"))}


def test_bytes_with_parameters_carry_the_context(drain: Drain) -> None:
    sql = b"INSERT INTO todo (task, is_completed, created_at) VALUES (%s, false, now())"
    with bound_context(user_id=7, path="100%"), cursor_of(connection) as cursor:
        cursor.execute(sql, ["a"])
        cursor.executemany(sql, [["b"], ["c"]])
    changes = drain()
    assert [change.after["task"] for change in changes] == ["a", "b", "c"]
    for change in changes:
        assert change.context == {"user_id": 7, "path": "100%", "SQL": sql.decode()}


FORGED = '/*Bemi {"user_id": 999} Bemi*/ ;\'; DROP TABLE todo; --'


@pytest.mark.skipif(is_psycopg3, reason="psycopg 3 has no such helpers")
def test_the_helpers_of_psycopg2_carry_the_context_and_leave_the_values_out(drain: Drain) -> None:
    from psycopg2.extras import execute_batch, execute_values

    values = "INSERT INTO todo (task, is_completed, created_at) VALUES %s"
    row = "INSERT INTO todo (task, is_completed, created_at) VALUES (%s, false, now())"
    tasks = [FORGED, *"abcde"]
    with bound_context(user_id=7, path=FORGED), transaction.atomic(), connection.cursor() as cursor:
        for sql in (values, values.encode()):
            execute_values(cursor, sql, [[task] for task in tasks], "(%s, false, now())", page_size=4)
        ids = execute_values(cursor, f"{values} RETURNING id", [("z", True, "now")], fetch=True)
        execute_batch(cursor, row, [[task] for task in tasks], page_size=4)
    assert len(ids) == 1
    changes = drain()
    assert [change.after["task"] for change in changes] == [*tasks * 2, "z", *tasks]
    recorded = [values] * 2 * len(tasks) + [f"{values} RETURNING id"] + [row] * len(tasks)
    assert [change.context for change in changes] == [
        {"user_id": 7, "path": FORGED, "SQL": sql} for sql in recorded
    ]
