"""What the hooks do to statements, as the server sees it: once, in front of writes, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any

import psycopg2
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from bemi_django import bound_context
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.polling import DEADLINE

NO_CONTEXT: dict[str, Any] = {}
CONTEXT = {"user_id": 7}
RETURN_QUERY = "INSERT INTO shop_category (name) VALUES (%s) RETURNING current_query()"


@pytest.fixture
def fresh(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A connection of Django's that is not open yet, so has no hook."""
    with closing(connection.copy()) as made:
        assert made.execute_wrappers == []
        yield made


def inserts(observer: Any) -> int:
    """How many rows were tried: a sequence goes on when its statement fails."""
    observer.execute("SELECT last_value FROM shop_category_id_seq")
    return int(observer.fetchone()[0])


def arrived(observer: Any, wrapper: BaseDatabaseWrapper) -> str:
    """The last statement of a connection, byte for byte."""
    pid = wrapper.connection.info.backend_pid
    observer.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid])
    return str(observer.fetchone()[0])


# A statement that fails


@pytest.mark.parametrize("block", [nullcontext, transaction.atomic], ids=["autocommit", "atomic"])
@pytest.mark.parametrize("context", [NO_CONTEXT, CONTEXT], ids=["without_context", "with_context"])
def test_a_failing_statement_of_django_runs_once_and_its_exception_arrives(
    observer: Any, block: Callable[[], AbstractContextManager[Any]], context: dict[str, Any]
) -> None:
    Category.objects.create(name="taken")
    raised: list[Exception] = []

    def watch(execute: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return execute(*arguments)
        except Exception as error:
            raised.append(error)
            raise

    before = inserts(observer)
    with (
        bound_context(**context),
        connection.execute_wrapper(watch),
        pytest.raises(IntegrityError) as caught,
        block(),
    ):
        Category.objects.create(name="taken")
    assert inserts(observer) - before == 1
    assert raised == [caught.value]
    assert type(caught.value.__cause__).__name__ == "UniqueViolation"
    assert caught.value.__context__ is caught.value.__cause__


@pytest.mark.parametrize("context", [NO_CONTEXT, CONTEXT], ids=["without_context", "with_context"])
def test_a_failing_statement_of_sqlalchemy_runs_once_and_its_exception_arrives(
    engine: Any, observer: Any, context: dict[str, Any]
) -> None:
    import sqlalchemy

    Category.objects.create(name="taken")
    raised: list[BaseException] = []
    sqlalchemy.event.listen(engine, "handle_error", lambda error: raised.append(error.original_exception))
    before = inserts(observer)
    with (
        bound_context(**context),
        pytest.raises(sqlalchemy.exc.IntegrityError) as caught,
        engine.begin() as opened,
    ):
        opened.execute(sqlalchemy.text("INSERT INTO shop_category (name) VALUES (:name)"), {"name": "taken"})
    assert inserts(observer) - before == 1
    assert raised == [caught.value.orig]
    assert isinstance(caught.value.orig, psycopg2.errors.UniqueViolation)
    assert caught.value.__cause__ is caught.value.orig


def test_get_or_create_works_in_a_race(drain: Drain, observer: Any) -> None:
    Category.objects.create(name="first")
    drain()
    before = inserts(observer)
    racers = 4
    line = threading.Barrier(racers)

    def name_when_all_have_looked() -> str:
        line.wait(DEADLINE)
        return "same"

    def race(number: int) -> tuple[int, bool, int]:
        try:
            with bound_context(racer=number):
                defaults: dict[str, Any] = {"name": name_when_all_have_looked}
                category, created = Category.objects.get_or_create(name="same", defaults=defaults)
            return category.pk, created, number
        finally:
            connection.close()

    with ThreadPoolExecutor(racers) as threads:
        results = list(threads.map(race, range(racers)))
    ((pk, _, winner),) = [result for result in results if result[1]]
    assert {result[0] for result in results} == {pk}
    assert inserts(observer) - before == racers
    (change,) = drain()
    assert (change.primary_key, change.context["racer"]) == (str(pk), winner)


# Wrappers of others


class Counting:
    """Counts the writes that pass."""

    arrives = ""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        self.seen += "INSERT" in sql
        return execute(sql, *arguments)


class Appending(Counting):
    """Appends a comment to every statement."""

    arrives = " /*route='a'*/"

    def __call__(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        return super().__call__(execute, sql + self.arrives, *arguments)


def opened_before_installation(wrapper: BaseDatabaseWrapper) -> None:
    assert wrapper.connection is None


def opened_after_installation(wrapper: BaseDatabaseWrapper) -> None:
    wrapper.ensure_connection()


def insert(wrapper: BaseDatabaseWrapper, name: str) -> str:
    """Write one row and return the statement that the server was sent."""
    with wrapper.cursor() as cursor:
        cursor.execute(RETURN_QUERY, [name])
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize("kind", [Counting, Appending])
@pytest.mark.parametrize("prepare", [opened_before_installation, opened_after_installation])
def test_a_wrapper_of_others_works_and_ends_and_ours_stays(
    drain: Drain,
    fresh: BaseDatabaseWrapper,
    kind: type[Counting],
    prepare: Callable[[BaseDatabaseWrapper], None],
) -> None:
    other = kind()
    prepare(fresh)
    with bound_context(**CONTEXT):
        with fresh.execute_wrapper(other):
            inside = [insert(fresh, "a")]
            fresh.close()
            inside += [insert(fresh, "b after a reconnection")]
            assert len(fresh.execute_wrappers) == 2
        outside = insert(fresh, "c")
    assert other not in fresh.execute_wrappers and len(fresh.execute_wrappers) == 1
    assert other.seen == 2
    for statement in inside:
        assert statement.startswith("/*Bemi {") and statement.endswith(f"current_query(){other.arrives}")
    assert outside.startswith("/*Bemi {") and outside.endswith("current_query()")
    assert [change.context for change in drain()] == [{**CONTEXT, "SQL": RETURN_QUERY}] * 3


def test_our_wrapper_is_there_once_after_any_number_of_connections(fresh: BaseDatabaseWrapper) -> None:
    for name in "abc":
        with bound_context(**CONTEXT):
            assert insert(fresh, name).count("/*Bemi") == 1
        assert len(fresh.execute_wrappers) == 1
        fresh.close()


# Statements that stay as they are


@contextmanager
def without_hook() -> Iterator[None]:
    connection.ensure_connection()
    hooks = connection.execute_wrappers[:]
    assert len(hooks) == 1
    connection.execute_wrappers.clear()
    try:
        yield
    finally:
        connection.execute_wrappers[:] = hooks


def reads_and_writes() -> None:
    category = Category.objects.create(name="new")
    with transaction.atomic(), transaction.atomic():
        Category.objects.select_for_update().get_or_create(name="newer")
        Category.objects.bulk_create([Category(name=name) for name in "abc"], batch_size=2)
    Category.objects.bulk_update([category], ["name"])
    assert Category.objects.filter(name="new").update(name="old") == 1
    assert Category.objects.all().delete()[0] == 5


def statements_sent(work: Callable[[], None]) -> int:
    """How many statements a wrapper behind the hook sees; one of the hook's own would not be logged."""
    sent = 0

    def count(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal sent
        sent += 1
        return execute(*arguments)

    with connection.execute_wrapper(count):
        work()
    return sent


@pytest.mark.parametrize("context", [NO_CONTEXT, CONTEXT], ids=["without_context", "with_context"])
def test_the_number_of_queries_is_what_it_is_without_the_hook(
    transactional_db: None, django_assert_num_queries: Any, context: dict[str, Any]
) -> None:
    with without_hook(), CaptureQueriesContext(connection) as unhooked:
        sent = statements_sent(reads_and_writes)
    with bound_context(**context), django_assert_num_queries(len(unhooked)) as hooked:
        assert statements_sent(reads_and_writes) == sent
    assert not any("Bemi" in query["sql"] for query in hooked)


UNTOUCHED = [
    "SELECT current_query()",
    " \n SELECT 1 -- DELETE",
    "/* UPDATE */ SELECT 'INSERT INTO t'",
    "/* a /* b */ UPDATE */ SELECT 1",
    "WITH t AS (SELECT 1) SELECT * FROM t",
    "WITH t AS (SELECT 1 FROM shop_category FOR UPDATE) SELECT * FROM t",
    "TABLE shop_category",
    "VALUES (1), (2)",
    "EXPLAIN SELECT 1",
    "SHOW TimeZone",
    "SET TimeZone = 'UTC'",
    "LISTEN bemi",
    "VACUUM shop_category",
    "ANALYZE shop_category",
    "CREATE TEMPORARY TABLE temporary (a int)",
    "BEGIN",
    "SAVEPOINT a",
    "SELECT 1 FROM shop_category FOR UPDATE",
    "LOCK TABLE shop_category IN ACCESS SHARE MODE",
    "SET LOCAL lock_timeout = '1s'",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH c",
    "CLOSE c",
    "ROLLBACK TO SAVEPOINT a",
    "RELEASE SAVEPOINT a",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "COMMIT",
]


@pytest.mark.parametrize("context", [NO_CONTEXT, CONTEXT], ids=["without_context", "with_context"])
def test_a_select_or_a_utility_statement_arrives_byte_for_byte(
    fresh: BaseDatabaseWrapper, observer: Any, context: dict[str, Any]
) -> None:
    with bound_context(**context), fresh.cursor() as cursor:
        for statement in UNTOUCHED:
            cursor.execute(statement)
            assert arrived(observer, fresh) == statement


def test_the_savepoints_of_atomic_arrive_byte_for_byte(observer: Any) -> None:
    with bound_context(**CONTEXT), transaction.atomic():
        with transaction.atomic():
            assert arrived(observer, connection).startswith('SAVEPOINT "s')
        assert arrived(observer, connection).startswith('RELEASE SAVEPOINT "s')
        with pytest.raises(RuntimeError), transaction.atomic():
            raise RuntimeError
        assert arrived(observer, connection).startswith('RELEASE SAVEPOINT "s')
    assert arrived(observer, connection) == "COMMIT"


def test_the_cursor_of_an_iterator_is_declared_for_the_query_as_it_is(transactional_db: None) -> None:
    Category.objects.bulk_create([Category(name=name) for name in "abc"])
    query = Category.objects.order_by("name")
    with bound_context(**CONTEXT):
        rows = query.iterator(chunk_size=1)
        first = next(rows)
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement FROM pg_cursors WHERE name LIKE '\\_django%'")
            ((statement,),) = cursor.fetchall()
        assert [category.name for category in (first, *rows)] == ["a", "b", "c"]
    assert statement.startswith("DECLARE ") and statement.endswith(f" FOR {query.query}")


@pytest.mark.parametrize("context", [NO_CONTEXT, CONTEXT], ids=["without_context", "with_context"])
def test_a_select_of_sqlalchemy_arrives_byte_for_byte(engine: Any, context: dict[str, Any]) -> None:
    import sqlalchemy

    statement = " SELECT current_query() -- DELETE"
    with bound_context(**context), engine.connect() as opened:
        assert opened.execute(sqlalchemy.text(statement)).scalar() == statement
        streamed = opened.execution_options(stream_results=True).execute(
            sqlalchemy.text("SELECT statement FROM pg_cursors")
        )
        assert "Bemi" not in streamed.scalar()


def test_a_write_behind_nested_comments_has_its_context(drain: Drain) -> None:
    statement = "/* a /* b */ c */ -- d\rINSERT INTO shop_category (name) VALUES ('x')"
    with bound_context(**CONTEXT), connection.cursor() as cursor:
        cursor.execute(statement)
    (change,) = drain()
    assert change.context == {**CONTEXT, "SQL": statement}
