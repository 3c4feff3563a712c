"""A new table gets its view of the past when somebody looks at the past, whoever that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from bemi_django.exceptions import HistoryError, LogBehind
from bemi_django.time_travel import as_of
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.travel import here, settled

_READER = "bemi_test_due"
_DUE = "SELECT name FROM _bemi.past WHERE is_due"
_VIEW = "SELECT to_regclass('_bemi_past_lab.tool') IS NOT NULL"


@pytest.fixture
def tool(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A new table with a row, and nobody has looked at its past."""
    execute("CREATE TABLE lab.tool (id int PRIMARY KEY, word text)")
    execute("INSERT INTO lab.tool VALUES (1, 'old')")
    assert (execute(_DUE), execute(_VIEW)) == ([("tool",)], [(False,)])
    with settled:
        yield pipeline
    execute("DROP TABLE IF EXISTS lab.tool")
    assert execute(_DUE) == []


def test_what_was_before_the_view_is_known(tool: Pipeline) -> None:
    before = here()
    execute("UPDATE lab.tool SET word = 'new'")
    execute("ALTER TABLE lab.tool RENAME word TO name")
    renamed = here()
    execute("UPDATE lab.tool SET name = 'newest'")
    tool.drain()
    assert execute(_VIEW) == [(False,)]
    for moment, name in ((before, "old"), (renamed, "new"), (here(), "newest")):
        with as_of(moment):
            assert execute("SELECT * FROM lab.tool") == [(1, name)]
    assert (execute(_DUE), execute(_VIEW)) == ([], [(True,)])


def test_a_view_that_exists_follows_at_once(tool: Pipeline) -> None:
    tool.drain()
    with as_of(here()):
        assert execute("SELECT * FROM lab.tool") == [(1, "old")]
    execute("ALTER TABLE lab.tool ADD COLUMN size int DEFAULT 7")
    assert execute(_DUE) == []
    with as_of(here()):
        assert execute("SELECT * FROM lab.tool") == [(1, "old", 7)]


def test_ddl_in_a_schema_that_is_tracked_no_longer_is_in_nobody_s_way(tool: Pipeline) -> None:
    # It stays when BEMI_INCLUDE names other schemas.
    execute("CREATE SCHEMA IF NOT EXISTS _bemi_past_public; CREATE TABLE public.untracked (id int)")
    try:
        execute("ALTER TABLE public.untracked ADD COLUMN size int")
        assert execute(_DUE) == [("tool",)]
        tool.drain()
        with as_of(here()):
            assert execute("SELECT * FROM lab.tool") == [(1, "old")]
    finally:
        execute("DROP TABLE public.untracked")


def test_a_new_table_that_is_dropped_or_replaced_leaves_nothing(tool: Pipeline) -> None:
    before = here()
    execute("DROP TABLE lab.tool")
    assert execute(_DUE) == []
    execute("CREATE TABLE lab.tool (id int PRIMARY KEY)")
    tool.drain()
    with as_of(before), pytest.raises(HistoryError, match="is before history of lab.tool"):
        execute("SELECT * FROM lab.tool")


def test_a_transaction_cannot_see_views_that_are_made_for_it_but_the_next_one_can(tool: Pipeline) -> None:
    tool.drain()
    for is_known in (False, True):
        with transaction.atomic():
            execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if is_known:
                with as_of(here()):
                    assert execute("SELECT * FROM lab.tool") == [(1, "old")]
            else:
                with pytest.raises(LogBehind, match="try again in a new transaction"), as_of(here()):
                    pass


def test_while_another_transaction_makes_views_one_has_to_wait(tool: Pipeline) -> None:
    tool.drain()
    execute("ALTER FUNCTION _bemi.past_make_v1 SET lock_timeout = '10ms'")
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM _bemi.past_refresh_v1()")
        with pytest.raises(LogBehind, match="another transaction is altering tables"), as_of(here()):
            pass
        other.rollback()
    finally:
        other.close()
        execute("ALTER FUNCTION _bemi.past_make_v1 SET lock_timeout = '2s'")
    with as_of(here()):
        assert execute("SELECT * FROM lab.tool") == [(1, "old")]


@contextmanager
def busy(statement: str) -> Iterator[None]:
    """Run a statement in another transaction, which stays open meanwhile."""
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(statement)
        yield
        other.rollback()
    finally:
        other.close()


def test_tables_that_are_altered_while_views_are_made_are_not_read_by_old_views(tool: Pipeline) -> None:
    before = here()
    tool.drain()
    with as_of(before):
        assert execute("SELECT word FROM lab.tool") == [("old",)]
    execute("UPDATE lab.tool SET word = 'new'")
    with busy("SELECT count(*) FROM _bemi.past_refresh_v1()"):
        execute("ALTER TABLE lab.tool RENAME word TO name")
        execute("ALTER TABLE lab.tool RENAME name TO title")
    tool.drain()
    with as_of(before):
        assert execute("SELECT title FROM lab.tool") == [("old",)]
    with busy("SELECT count(*) FROM _bemi.past_refresh_v1()"):
        execute("DROP TABLE lab.tool; CREATE TABLE lab.tool (id int PRIMARY KEY)")
    tool.drain()
    with as_of(here()):
        assert execute("SELECT * FROM lab.tool") == []
    assert execute("SELECT count(*) FROM _bemi.past WHERE name = 'tool'") == [(1,)]


def test_whoever_has_nothing_to_make_locks_nothing(pipeline: Pipeline) -> None:
    with transaction.atomic():
        assert execute("SELECT _bemi.past_make_v1(50)") == [(0,)]
        assert execute(
            "SELECT count(*) FROM pg_locks WHERE relation = '_bemi.past'::regclass "
            "AND mode = 'ShareUpdateExclusiveLock'"
        ) == [(0,)]


@contextmanager
def reader(*rights: str) -> Iterator[str]:
    """Yield the alias of a role that may read the past, and creates nothing."""
    execute(f"CREATE ROLE {_READER} LOGIN PASSWORD 'reader'")
    execute(f"ALTER ROLE {_READER} SET default_transaction_read_only = on")
    try:
        for right in (
            "USAGE ON SCHEMA _bemi, lab", "SELECT ON ALL TABLES IN SCHEMA _bemi",
            "SELECT ON changes, lab.tool", "pg_monitor", *rights,
        ):  # fmt: skip
            execute(f"GRANT {right} TO {_READER}")
        settings = connections["default"].settings_dict
        connections.settings[_READER] = {**settings, "USER": _READER, "PASSWORD": "reader"}
        yield _READER
    finally:
        if _READER in connections.settings:
            connections[_READER].close()
            del connections[_READER]
            del connections.settings[_READER]
        execute(f"DROP OWNED BY {_READER}; DROP ROLE {_READER}")


@pytest.mark.administrator
def test_a_reader_that_may_create_nothing_reads_the_past(tool: Pipeline) -> None:
    before = here()
    execute("UPDATE lab.tool SET word = 'new'")
    tool.drain()
    make = "EXECUTE ON FUNCTION _bemi.past_make_v1(int)"
    with reader(make) as alias, as_of(before, using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SELECT * FROM lab.tool")
        assert cursor.fetchall() == [(1, "old")]


@pytest.mark.administrator
def test_a_reader_without_the_right_is_told_what_to_do(tool: Pipeline) -> None:
    tool.drain()
    said = "no view of the past yet .*permission denied.* bemi sync"
    with reader() as alias, pytest.raises(HistoryError, match=said), as_of(here(), using=alias):
        pass
    assert execute(_VIEW) == [(False,)]
