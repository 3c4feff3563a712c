"""A context function that fails, in SQL or otherwise, never makes the application's write fail."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from bemi_django import get_context
from bemi_django.capture.context import provided_context
from sample_project.todos.models import Tag, Todo
from tests.support.pipeline import Drain
from tests.support.processes import database_url

Provider = Callable[[], dict[str, Any]]
Run = Callable[[str], Any]

NO_TABLE = "SELECT * FROM no_such_table"
INSERT = "INSERT INTO todo (task, is_completed, created_at) VALUES ('{}', false, now())"


def django_run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def fails_in_sql(run: Run) -> dict[str, Any]:
    run("SELECT 1")
    run(NO_TABLE)
    return {"never": True}


def fails_at_once(run: Run) -> dict[str, Any]:
    run("SELECT 1 / 0")
    return {"never": True}


def hides_its_failure(run: Run) -> dict[str, Any]:
    try:
        run(NO_TABLE)
    except Exception:
        return {"found": "otherwise"}
    return {"never": True}


def fails_after_a_query(run: Run) -> dict[str, Any]:
    run("SELECT 1")
    raise ValueError("no")


def writes_and_fails(run: Run) -> dict[str, Any]:
    run(INSERT.format("of the function"))
    run(NO_TABLE)
    return {"never": True}


def takes_too_long(run: Run) -> dict[str, Any]:
    run("SET LOCAL statement_timeout = 1")
    run("SELECT pg_sleep(10)")
    return {"never": True}


def works(run: Run) -> dict[str, Any]:
    run(INSERT.format("of the function"))
    run("SELECT 1")
    return {"found": 1}


FAILING = [
    fails_in_sql,
    fails_at_once,
    hides_its_failure,
    fails_after_a_query,
    writes_and_fails,
    takes_too_long,
]


@contextmanager
def failing(function: Callable[[Run], dict[str, Any]], run: Run) -> Iterator[list[int]]:
    """The function is the one of a request; each call of it is counted."""
    calls: list[int] = []

    def provider() -> dict[str, Any]:
        calls.append(1)
        return function(run)

    with provided_context(provider, request_id="r"):
        yield calls
    assert calls


def tasks(drain: Drain) -> dict[str, dict[str, Any]]:
    found = {change.after["task"]: change.context for change in drain() if change.table == "todo"}
    return {
        task: {key: value for key, value in context.items() if key != "SQL"}
        for task, context in found.items()
    }


def expected(function: Callable[[Run], dict[str, Any]]) -> dict[str, Any]:
    return {"request_id": "r"} | ({"found": "otherwise"} if function is hides_its_failure else {})


# Django


def in_a_form(run: Run) -> dict[str, Any]:
    """Fail in a block of Django's own, which marks the transaction as broken without any query."""
    with transaction.atomic(savepoint=False):
        raise ValueError("no")


def in_a_save(run: Run) -> dict[str, Any]:
    Tag(name="x" * 10_000, pk=0).save(force_update=True)
    return {"never": True}


def in_a_block(run: Run) -> dict[str, Any]:
    with transaction.atomic():
        Tag.objects.create(name="x")
        run(NO_TABLE)
    return {"never": True}


def asks_for_rollback(run: Run) -> dict[str, Any]:
    transaction.set_rollback(True)
    return {"never": None}


DJANGO = [*FAILING, in_a_form, in_a_save, in_a_block, asks_for_rollback]


@pytest.mark.parametrize("function", DJANGO)
def test_django_writes_in_a_transaction(drain: Drain, function: Any) -> None:
    with failing(function, django_run), transaction.atomic():
        Todo.objects.create(task="a")
        with transaction.atomic():
            Todo.objects.create(task="b")
    assert not connection.in_atomic_block
    found = tasks(drain)
    assert {"a", "b"} <= found.keys() <= {"a", "b", "of the function"}
    for context in (found["a"], found["b"]):
        assert {key: value for key, value in context.items() if key != "never"} == expected(function)


@pytest.mark.parametrize("function", DJANGO)
def test_django_looks_at_the_context_in_a_transaction(drain: Drain, function: Any) -> None:
    with failing(function, django_run):
        with transaction.atomic():
            assert get_context()["request_id"] == "r"
            Todo.objects.create(task="a")
        with transaction.atomic(), pytest.raises(DatabaseError):
            get_context()
            django_run(NO_TABLE)
            transaction.set_rollback(True)
    assert "a" in tasks(drain)


def test_django_rolls_back_nothing_but_the_function(drain: Drain) -> None:
    Todo.objects.create(task="before")
    with failing(writes_and_fails, django_run), transaction.atomic():
        Todo.objects.filter(task="before").update(task="after")
        Todo.objects.create(task="a")
    assert set(tasks(drain)) == {"before", "after", "a"}


def test_a_function_that_works_keeps_what_it_wrote(drain: Drain) -> None:
    with failing(works, django_run) as calls, transaction.atomic():
        Todo.objects.create(task="a")
        Todo.objects.create(task="b")
    assert tasks(drain) == {
        "of the function": {"request_id": "r"},
        "a": {"request_id": "r", "found": 1},
        "b": {"request_id": "r", "found": 1},
    }
    assert len(calls) == 1


def test_a_function_without_queries_costs_no_savepoint(db: None, django_assert_num_queries: Any) -> None:
    with failing(lambda run: {"user_id": 7}, django_run), transaction.atomic(), django_assert_num_queries(1):
        Todo.objects.create(task="a")
    with failing(fails_after_a_query, django_run), transaction.atomic(), django_assert_num_queries(4):
        # A savepoint, the query of the function, the release, the write.
        Todo.objects.create(task="a")


def test_a_transaction_that_the_application_broke_stays_broken(transactional_db: None) -> None:
    with failing(fails_in_sql, django_run), transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            Todo.objects.create(task="a")
    with (
        failing(fails_in_sql, django_run),
        pytest.raises(DatabaseError, match="aborted"),
        transaction.atomic(),
    ):
        with pytest.raises(DatabaseError, match="no_such_table"):
            django_run(NO_TABLE)
        Todo.objects.create(task="a")
    assert not Todo.objects.filter(task="a").exists()


def test_no_wrapper_is_left_behind(db: None) -> None:
    before = list(connection.execute_wrappers)
    with failing(fails_in_sql, django_run), transaction.atomic():
        Todo.objects.create(task="a")
    assert connection.execute_wrappers == before


def test_django_in_autocommit(drain: Drain) -> None:
    with failing(writes_and_fails, django_run):
        Todo.objects.create(task="a")
    assert {"a", "of the function"} == set(tasks(drain))


# SQLAlchemy

sqlalchemy: Any = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
SQLALCHEMY_2 = not sqlalchemy.__version__.startswith("1.")
DRIVERS = ["psycopg2"]
if SQLALCHEMY_2 and importlib.util.find_spec("psycopg"):
    DRIVERS += ["psycopg", "psycopg async"]
if importlib.util.find_spec("greenlet") and importlib.util.find_spec("asyncpg"):
    DRIVERS += ["asyncpg async"]


def on_connection(driver: str, work: Callable[[Any], None], **options: Any) -> None:
    """Run synchronous work on a hooked engine of any driver."""
    from bemi_django.capture.hooks.sqlalchemy_engine import install

    name, *is_async = driver.split()
    url = database_url(f"postgresql+{name}")
    if not is_async:
        engine = sqlalchemy.create_engine(url, future=True, **options)
        install(engine)
        with engine.connect() as opened:
            work(opened)
        engine.dispose()
        return

    async def run() -> None:
        engine = importlib.import_module("sqlalchemy.ext.asyncio").create_async_engine(url, **options)
        install(engine)
        async with engine.connect() as opened:
            await opened.run_sync(work)
        await engine.dispose()

    asyncio.run(run())


@pytest.mark.parametrize("function", FAILING)
@pytest.mark.parametrize("driver", DRIVERS)
def test_sqlalchemy_writes_in_a_transaction(drain: Drain, driver: str, function: Any) -> None:
    def work(opened: Any) -> None:
        for task in "ab":
            with failing(function, lambda sql: opened.execute(sqlalchemy.text(sql))), opened.begin():
                opened.execute(sqlalchemy.text("SELECT 1"))
                opened.execute(sqlalchemy.text(INSERT.format(task)))
                opened.execute(sqlalchemy.text(INSERT.format(task * 2)))

    on_connection(driver, work)
    found = tasks(drain)
    assert {"a", "aa", "b", "bb"} == found.keys() - {"of the function"}
    for task in ("a", "aa", "b", "bb"):
        assert found[task] == expected(function)


@pytest.mark.parametrize("driver", DRIVERS)
def test_sqlalchemy_keeps_the_context_of_before(drain: Drain, driver: str) -> None:
    def work(opened: Any) -> None:
        def run(sql: str) -> None:
            opened.execute(sqlalchemy.text(sql))

        with opened.begin():
            with provided_context(lambda: {"user_id": 7}):
                run(INSERT.format("a"))
            with failing(writes_and_fails, run):
                run(INSERT.format("b"))
            with provided_context(lambda: {"user_id": 7}):
                run(INSERT.format("c"))

    on_connection(driver, work)
    assert tasks(drain) == {"a": {"user_id": 7}, "b": {"request_id": "r"}, "c": {"user_id": 7}}


@pytest.mark.parametrize("driver", DRIVERS)
def test_sqlalchemy_keeps_what_a_function_wrote_that_works(drain: Drain, driver: str) -> None:
    def work(opened: Any) -> None:
        with failing(works, lambda sql: opened.execute(sqlalchemy.text(sql))), opened.begin():
            opened.execute(sqlalchemy.text(INSERT.format("a")))

    on_connection(driver, work)
    assert tasks(drain) == {"of the function": {"request_id": "r"}, "a": {"request_id": "r", "found": 1}}


@pytest.mark.parametrize("driver", DRIVERS)
def test_sqlalchemy_looks_at_the_context_in_a_transaction(drain: Drain, driver: str) -> None:
    def work(opened: Any) -> None:
        with failing(fails_in_sql, lambda sql: opened.execute(sqlalchemy.text(sql))), opened.begin():
            assert get_context() == {"request_id": "r"}
            opened.execute(sqlalchemy.text(INSERT.format("a")))

    on_connection(driver, work)
    assert tasks(drain) == {"a": {"request_id": "r"}}


@pytest.mark.parametrize("driver", DRIVERS)
def test_sqlalchemy_in_autocommit(drain: Drain, driver: str) -> None:
    def work(opened: Any) -> None:
        with failing(fails_in_sql, lambda sql: opened.execute(sqlalchemy.text(sql))):
            opened.execute(sqlalchemy.text(INSERT.format("a")))

    on_connection(driver, work, isolation_level="AUTOCOMMIT")
    assert tasks(drain) == {"a": {"request_id": "r"}}


def test_a_function_with_a_transaction_of_its_own_ends_it_itself(drain: Drain) -> None:
    from bemi_django.capture.hooks.sqlalchemy_engine import install

    engine = sqlalchemy.create_engine(database_url("postgresql+psycopg2"), future=True)
    install(engine)

    def provider() -> dict[str, Any]:
        with transaction.atomic():
            Todo.objects.create(task="of Django")
        with engine.begin() as own:
            own.execute(sqlalchemy.text(INSERT.format("of the function")))
        return {"found": 1}

    with provided_context(provider), engine.begin() as opened:
        opened.execute(sqlalchemy.text(INSERT.format("a")))
    engine.dispose()
    found = tasks(drain)
    assert found.keys() == {"of Django", "of the function", "a"}
    assert found["a"] == {"found": 1}


@pytest.mark.parametrize("function", [*FAILING, in_a_form, in_a_block])
def test_a_session_on_djangos_connection(drain: Drain, function: Any) -> None:
    if not SQLALCHEMY_2:
        pytest.skip("the bridge needs SQLAlchemy 2")
    from bemi_django.integrations.sqlalchemy import get_session

    with transaction.atomic():
        for run_in_session in (True, False):
            with get_session() as session:

                def in_session(sql: str, session: Any = session) -> None:
                    session.execute(sqlalchemy.text(sql))

                with failing(function, in_session if run_in_session else django_run):
                    in_session(INSERT.format(f"session {run_in_session}"))
                    Todo.objects.create(task=f"Django {run_in_session}")
                session.commit()
    found = tasks(drain)
    written = {f"{kind} {where}" for kind in ("session", "Django") for where in (True, False)}
    assert written == found.keys() - {"of the function"}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_transaction_on_another_database_is_protected_too() -> None:
    def run(sql: str) -> None:
        with connections["other"].cursor() as cursor:
            cursor.execute(sql)

    with transaction.atomic(), transaction.atomic("other"), failing(fails_in_sql, run):
        run("CREATE TEMP TABLE proof (a int)")
        Todo.objects.create(task="a")
        run("INSERT INTO proof VALUES (1)")
    assert Todo.objects.filter(task="a").exists()
    run("DROP TABLE proof")
