"""What DDL, ``sync`` and the checks cost in a database with many tables, by counting instead of timing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.checks import run_checks
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from bemi_django import conf
from bemi_django.apps import _track_new_tables
from bemi_django.schema import sql, tracking
from tests.support import roles

#: Rows that the current transaction has read of tables, the catalog included.
_READ = """
SELECT relname, sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int
FROM pg_stat_xact_all_tables GROUP BY relname
"""
_CALLS = "SELECT coalesce(sum(calls), 0) FROM pg_stat_xact_user_functions WHERE schemaname = '_bemi'"

FRESH = "bemi_crowd"
DDL = {
    "create": "CREATE TABLE crowd.one (id bigserial PRIMARY KEY, name text UNIQUE)",
    "create as": "CREATE TABLE crowd.one AS SELECT 1 AS id",
    "create elsewhere": "CREATE TABLE aside.one (id bigserial PRIMARY KEY)",
    "add column": "ALTER TABLE crowd.t0 ADD COLUMN note text",
    "rename": "ALTER TABLE crowd.t0 RENAME TO renamed",
    "add index": "ALTER TABLE crowd.t0 ADD UNIQUE (name)",
    "drop table": "DROP TABLE crowd.t0",
    "drop column": "ALTER TABLE crowd.t0 DROP COLUMN name",
    "drop index": "DROP INDEX crowd.t0_name",
    "type": "CREATE TYPE crowd.mood AS ENUM ('good')",
    "partition": "CREATE TABLE crowd.part PARTITION OF crowd.whole FOR VALUES IN (1)",
    "function": "CREATE FUNCTION crowd.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
}


def execute(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def crowd(first: int, last: int, execute: Callable[[str], object] = execute) -> None:
    """Create tables in a schema that is tracked and in one that is not."""
    for number in range(first, last):
        for schema in ("crowd", "aside"):
            execute(f"CREATE TABLE {schema}.t{number} (id bigserial PRIMARY KEY, name text)")
            execute(f"CREATE INDEX t{number}_name ON {schema}.t{number} (name)")


@pytest.fixture
def schema(transactional_db: None, settings: Any) -> Iterator[None]:
    settings.BEMI_INCLUDE = ["public.*", "crowd.*"]
    execute("CREATE SCHEMA crowd; CREATE SCHEMA aside")
    tracking.sync()
    crowd(0, 5)
    execute("CREATE TABLE crowd.whole (id int PRIMARY KEY) PARTITION BY LIST (id)")
    # Makes the views of the past.
    tracking.sync()
    yield
    execute("DROP SCHEMA crowd CASCADE; DROP SCHEMA aside CASCADE")
    del settings.BEMI_INCLUDE
    tracking.sync()


@pytest.fixture
def fresh(django_db_setup: None) -> Iterator[Any]:
    """A cursor of a new database: plans depend on what other tests have left in the catalog of one in use."""
    with roles.administrator() as cursor:
        cursor.execute(f"CREATE DATABASE {FRESH}")
    try:
        with roles.administrator(FRESH) as cursor:
            cursor.execute(sql.install("bemi", *sql.SOURCE, *sql.LOG[1:], *sql.PAST, log=conf.table()))
            cursor.execute(
                "CREATE PUBLICATION bemi; INSERT INTO _bemi.tracking (publication, include, exclude) "
                "VALUES ('bemi', '{public.%, crowd.%}', '{}'); SELECT _bemi.event_triggers_v1()"
            )
            cursor.execute(
                "CREATE SCHEMA crowd; CREATE SCHEMA aside; "
                "CREATE TABLE crowd.whole (id int PRIMARY KEY) PARTITION BY LIST (id)"
            )
            crowd(0, 5, cursor.execute)
            yield cursor
    finally:
        with roles.administrator() as cursor:
            cursor.execute(f"DROP DATABASE {FRESH} WITH (FORCE)")


def read_by(statement: str) -> Counter[str]:
    """Return the rows of each table that a statement reads in a session of its own, which is rolled back.

    Ways to read whole tables, which are the best ones for small tables, are turned off: what is counted is
    whether there is a way that leads to the rows in question.
    """
    with (
        closing(psycopg2.connect(**{**conf.connection_parameters("default"), "dbname": FRESH})) as session,
        session.cursor() as cursor,
    ):
        for way in ("seqscan", "hashjoin", "mergejoin"):
            cursor.execute(f"SET enable_{way} = off")
        session.commit()
        counts: dict[str, Counter[str]] = {}
        # A session fills its caches at first, and again if others change something. To count reads rows, too.
        for executed in (statement, "SELECT 1") * 4:
            cursor.execute(_READ)
            before = Counter[str](dict(cursor.fetchall()))
            cursor.execute(executed)
            cursor.execute(_READ)
            found = Counter[str](dict(cursor.fetchall())) - before
            counts[executed] = found & counts.get(executed, found)
            session.rollback()
    return counts[statement] - counts["SELECT 1"]


@pytest.mark.administrator
def test_ddl_reads_no_more_rows_where_there_are_more_tables(fresh: Any) -> None:
    # With too few tables, whole catalogs are read by way of their indexes.
    crowd(5, 25, fresh.execute)
    fresh.execute("ANALYZE")
    few = {name: read_by(statement) for name, statement in DDL.items()}
    crowd(25, 85, fresh.execute)
    fresh.execute("ANALYZE")
    many = {name: read_by(statement) for name, statement in DDL.items()}
    # One row for each of the 120 tables more would be seen here.
    grown = {
        name: Counter({table: n for table, n in (many[name] - few[name]).items() if n >= 60}) for name in DDL
    }
    assert {name: tables for name, tables in grown.items() if tables} == {}


@pytest.mark.administrator
def test_ddl_that_changes_nothing_of_what_is_recorded_makes_no_plan(fresh: Any) -> None:
    called = "SELECT funcname FROM pg_stat_xact_user_functions WHERE funcname IN ('plan_v1', 'describe_v1')"

    def called_by(statement: str) -> set[str]:
        fresh.execute("BEGIN; SET LOCAL track_functions = 'all'")
        fresh.execute(statement.format("crowd.t1"))
        fresh.execute(called)
        found = {name for (name,) in fresh.fetchall()}
        fresh.execute("COMMIT")
        return found

    for statement in (
        "ALTER TABLE {} ALTER COLUMN name SET NOT NULL",
        "ALTER TABLE {} ADD CONSTRAINT named CHECK (name <> '')",
        "ALTER TABLE {} ADD CONSTRAINT other FOREIGN KEY (id) REFERENCES crowd.t2 (id)",
        "ALTER TABLE {} ALTER COLUMN name SET STATISTICS 10",
    ):
        assert called_by(statement) == set(), statement
    # What changes columns or the key only is described, but nothing of the table's tracking is asked.
    for statement in (
        "ALTER TABLE {} ADD COLUMN note text DEFAULT 'x'",
        "ALTER TABLE {} ALTER COLUMN note TYPE varchar",
        "ALTER TABLE {} RENAME COLUMN note TO noted",
        "ALTER TABLE {} DROP COLUMN noted",
        "ALTER TABLE {} DROP CONSTRAINT t1_pkey",
    ):
        assert called_by(statement) == {"describe_v1"}, statement
    for statement in (
        "ALTER TABLE {} DISABLE TRIGGER _bemi_capture",
        "ALTER TABLE {} RENAME TO renamed",
    ):
        assert called_by(statement) == {"plan_v1", "describe_v1"}, statement


@pytest.mark.administrator
def test_sync_and_checks_ask_the_same_queries_however_many_tables_there_are(schema: None) -> None:
    few = asked()
    crowd(5, 25)
    tracking.sync()
    assert asked() == few


def asked() -> list[tuple[int, int]]:
    """Return how many queries sync, migrate and check ask, and how many of our functions these call."""
    counts = []
    for work in WORK:
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            execute("SET LOCAL track_functions = 'all'")
            ((before,),) = execute(_CALLS)
            work()
            ((after,),) = execute(_CALLS)
        counts.append((len(queries), int(after) - int(before)))
    return counts


WORK: list[Callable[[], object]] = [
    tracking.sync,
    lambda: _track_new_tables("default"),
    lambda: run_checks(tags=["database"], databases=["default"]),
]


def test_ddl_prints_no_notice_of_ours(schema: None) -> None:
    with (
        closing(psycopg2.connect(**conf.connection_parameters("default"))) as session,
        session.cursor() as cursor,
    ):
        for statement in DDL.values():
            cursor.execute(statement)
            session.rollback()
        cursor.execute(
            "CREATE TABLE crowd.two (id int); ALTER TABLE crowd.two ADD COLUMN note text; "
            "DROP TABLE crowd.two"
        )
        assert session.notices == []
        cursor.execute("DROP TABLE IF EXISTS crowd.nothing")
        assert len(session.notices) == 1


def test_views_of_the_past_are_made_in_batches(schema: None, monkeypatch: pytest.MonkeyPatch) -> None:
    views = "SELECT count(*) FROM pg_views WHERE schemaname = '_bemi_past_crowd'"
    before = execute(views)
    execute("DROP SCHEMA _bemi_past_crowd CASCADE")
    monkeypatch.setattr(tracking, "_VIEWS", 2)
    with CaptureQueriesContext(connection) as queries:
        tracking.sync()
    # Six tables and no seventh, which says that there is nothing left.
    assert sum("past_refresh_v1(" in query["sql"] for query in queries) == 4
    assert execute(views) == before == [(6,)]


def test_an_unchanged_view_of_the_past_is_left_as_it_is(schema: None) -> None:
    views = "SELECT oid FROM pg_class WHERE relnamespace = '_bemi_past_crowd'::regnamespace ORDER BY oid"
    before = execute(views)
    tracking.sync()
    execute("SELECT count(*) FROM _bemi.past_refresh_v1()")
    assert before and execute(views) == before
