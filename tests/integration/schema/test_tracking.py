"""``sync``, ``post_migrate`` and the event trigger: which tables are tracked, and what that costs others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from bemi_django.schema import sql, tracking
from tests.support import roles
from tests.support.polling import until
from tests.support.project_database import another_session
from tests.support.server_conditions import no_event_triggers


def execute(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def triggers(table: str) -> int:
    ((count,),) = execute(
        "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '\\_bemi\\_%%' AND tgname <> '_bemi_take' "
        "AND tgrelid = %s::regclass",
        table,
    )
    return int(count)


def identity(table: str) -> str:
    ((found,),) = execute("SELECT relreplident FROM pg_class WHERE oid = %s::regclass", table)
    return str(found)


def is_published(table: str) -> bool:
    return bool(execute("SELECT 1 FROM pg_publication_rel WHERE prrelid = %s::regclass", table))


def is_tracked(table: str) -> bool:
    return (triggers(table), identity(table), is_published(table)) == (2, "f", True)


@pytest.fixture
def schema(transactional_db: None, settings: Any) -> Iterator[str]:
    """A schema of the test's own, chosen by the settings."""
    settings.BEMI_INCLUDE = ["public.*", "shed.*"]
    settings.BEMI_EXCLUDE = ["shed.*_tmp"]
    execute("CREATE SCHEMA shed")
    tracking.sync()
    yield "shed"
    execute("DROP SCHEMA shed CASCADE")
    del settings.BEMI_INCLUDE, settings.BEMI_EXCLUDE
    tracking.sync()


@pytest.fixture
def no_event_trigger(schema: str) -> Iterator[None]:
    with no_event_triggers():
        yield


@pytest.fixture
def owner(schema: str) -> Iterator[str]:
    """A role that may create tables in the schema and owns nothing else."""
    execute("CREATE ROLE shed_owner LOGIN PASSWORD 'secret'; GRANT ALL ON SCHEMA shed TO shed_owner")
    yield "shed_owner"
    execute("DROP OWNED BY shed_owner CASCADE; DROP ROLE shed_owner")


def test_a_new_table_is_tracked_at_once(schema: str) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    execute("CREATE TABLE shed.copy AS SELECT 1 AS id")
    assert is_tracked("shed.tool") and is_tracked("shed.copy")
    assert tracking.sync().done == []


@pytest.mark.administrator
def test_a_new_table_of_a_role_without_rights_is_tracked_at_once(owner: str) -> None:
    with another_session(user=owner, password="secret") as cursor:
        cursor.execute("CREATE TABLE shed.tool (id int); COMMIT")
    assert is_tracked("shed.tool")


def test_only_chosen_tables_are_tracked(schema: str) -> None:
    execute("CREATE TABLE shed.cache_tmp (id int); CREATE UNLOGGED TABLE shed.fast (id int)")
    execute("CREATE SCHEMA attic")
    try:
        execute("CREATE TABLE attic.box (id int)")
        tracking.sync()
        for table in ("shed.cache_tmp", "shed.fast", "attic.box", "django_migrations", "django_session"):
            assert triggers(table) == 0 and not is_published(table), table
    finally:
        execute("DROP SCHEMA attic CASCADE")


def test_the_log_never_tracks_itself(schema: str, settings: Any) -> None:
    settings.BEMI_INCLUDE = ["public.*", "*.changes", "_bemi.*", "*.django_session"]
    tracking.sync()
    ours = execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') "
        "AND (relname ~ '^changes' OR relnamespace = '_bemi'::regnamespace)"
    )
    assert len(ours) >= 8
    for (table,) in ours:
        assert triggers(table) == 0 and not is_published(table), table
    assert is_tracked("django_session")


def test_without_the_event_trigger_migrate_tracks_new_tables(no_event_trigger: None) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    assert triggers("shed.tool") == 0
    call_command("migrate", verbosity=0)
    assert is_tracked("shed.tool")


def test_a_temporary_table_touches_no_other_table(schema: str) -> None:
    with transaction.atomic():
        execute("CREATE TEMP TABLE scratch (id int) ON COMMIT DROP")
        locked = execute(
            "SELECT relation::regclass::text, mode FROM pg_locks JOIN pg_class c ON c.oid = relation "
            "WHERE pid = pg_backend_pid() AND mode NOT IN ('AccessShareLock', 'RowExclusiveLock') "
            "AND c.relname <> 'scratch' AND c.relpersistence = 'p'"
        )
    assert locked == []


def test_two_open_transactions_that_create_tables_do_not_wait_for_each_other(schema: str) -> None:
    with another_session() as first, another_session() as second:
        first.execute("CREATE TABLE shed.one (id int)")
        second.execute("SET statement_timeout = '60s'; CREATE TABLE shed.two (id int); COMMIT")
        first.execute("COMMIT")
        notices = [notice for cursor in (first, second) for notice in cursor.connection.notices]
    late = [line for line in notices if "not tracked yet" in line]
    assert all("run manage.py bemi sync" in line for line in late)
    tracking.sync()
    assert is_tracked("shed.one") and is_tracked("shed.two")


@pytest.fixture
def locked_table(schema: str) -> Iterator[Any]:
    """A table with what is only printed under a lock, and a session that has locked it."""
    execute("CREATE TYPE shed.size AS (a int)")
    execute("CREATE TABLE shed.tool (size shed.size, a int, b int GENERATED ALWAYS AS (a * 2) STORED)")
    with another_session() as cursor:
        cursor.execute("BEGIN; LOCK TABLE shed.tool IN ACCESS EXCLUSIVE MODE")
        yield cursor


def test_a_locked_table_holds_up_nobody_who_has_nothing_to_do_there(locked_table: Any) -> None:
    execute("SET lock_timeout = '1s'")
    assert tracking.plan() == [] and tracking.sync().done == []


def test_ddl_that_cannot_be_followed_works_and_is_found_by_sync(locked_table: Any) -> None:
    with another_session() as cursor:
        cursor.execute("ALTER TYPE shed.size ADD ATTRIBUTE b int; COMMIT")
        (warning,) = cursor.connection.notices
    assert "table shed.tool is not tracked yet: run manage.py bemi sync" in warning
    locked_table.connection.rollback()
    assert tracking.sync().done == ["described: shed.tool"]


def test_a_table_that_is_renamed_into_the_chosen_ones_is_tracked_and_out_of_them_no_longer(
    schema: str,
) -> None:
    execute("CREATE TABLE shed.saw_tmp (id int PRIMARY KEY)")
    execute("ALTER TABLE shed.saw_tmp RENAME TO saw")
    assert is_tracked("shed.saw")
    execute("ALTER TABLE shed.saw RENAME TO saw_tmp")
    assert (triggers("shed.saw_tmp"), identity("shed.saw_tmp"), is_published("shed.saw_tmp")) == (
        0,
        "d",
        False,
    )


def test_what_an_administrator_took_off_stays_off_until_sync(schema: str) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    execute("ALTER PUBLICATION bemi DROP TABLE shed.tool; ALTER TABLE shed.tool REPLICA IDENTITY DEFAULT")
    execute("ALTER TABLE shed.tool ADD a int")
    assert not is_published("shed.tool") and identity("shed.tool") == "d"
    assert tracking.sync().done == ["replica identity full: shed.tool", "published: shed.tool"]


def test_a_table_that_comes_back_gets_what_an_administrator_took_off_before(schema: str) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    execute("DROP TRIGGER _bemi_capture ON shed.tool; DROP TRIGGER _bemi_capture_truncate ON shed.tool")
    execute("ALTER TABLE shed.tool RENAME TO tool_tmp")
    execute("ALTER TABLE shed.tool_tmp RENAME TO tool")
    assert is_tracked("shed.tool")
    assert tracking.sync().done == []


def test_a_copy_of_the_database_is_described_anew(schema: str) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    execute(
        "UPDATE _bemi.relations SET system = 1, since = '7FFFFFFF/0' WHERE relation = 'shed.tool'::regclass"
    )
    assert tracking.sync().done == ["described: shed.tool"]
    assert tracking.sync().done == []


def test_a_table_no_longer_chosen_is_left_as_it_was(schema: str, settings: Any) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    settings.BEMI_EXCLUDE = ["shed.*"]
    expected = [
        "no longer published: shed.tool",
        "no triggers: shed.tool",
        "replica identity default: shed.tool",
    ]
    assert tracking.sync(dry_run=True).done == expected
    assert is_tracked("shed.tool")
    assert tracking.sync().done == expected
    assert (triggers("shed.tool"), identity("shed.tool"), is_published("shed.tool")) == (0, "d", False)


def test_triggers_that_were_disabled_or_dropped_are_mended(schema: str) -> None:
    execute("CREATE TABLE shed.tool (id int); CREATE TABLE shed.nail (id int)")
    execute(
        "ALTER TABLE shed.tool DISABLE TRIGGER _bemi_capture;DROP TRIGGER _bemi_capture_truncate ON shed.nail"
    )
    assert tracking.sync().done == ["triggers: shed.nail", "triggers: shed.tool"]
    assert tracking.sync().done == []


def test_what_sync_does_is_what_it_would_do(schema: str) -> None:
    execute(
        "CREATE TABLE shed.tool (id int); CREATE TABLE shed.nail (id int); CREATE TABLE shed.saw (id int)"
    )
    execute(
        "ALTER TABLE shed.tool DISABLE TRIGGER _bemi_capture; ALTER TABLE shed.nail REPLICA IDENTITY DEFAULT;"
        "ALTER PUBLICATION bemi DROP TABLE shed.saw; ALTER PUBLICATION bemi SET (publish = 'insert')"
    )
    planned = tracking.sync(dry_run=True).done
    reported: list[str] = []
    outcome = tracking.sync(report=reported.append)
    assert planned == outcome.done == reported and len(planned) == 4, (planned, outcome)
    assert outcome.failed == [] == tracking.sync(dry_run=True).done


def test_every_partition_has_the_identity_and_the_root_is_published(schema: str) -> None:
    execute(
        "CREATE TABLE shed.log (id int, day date) PARTITION BY RANGE (day);"
        "CREATE TABLE shed.log_1 PARTITION OF shed.log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
        "CREATE TABLE shed.log_2_tmp PARTITION OF shed.log DEFAULT"
    )
    for table in ("shed.log_1", "shed.log_2_tmp"):
        assert (triggers(table), identity(table)) == (2, "f"), "a partition counts under the name of its root"
    assert triggers("shed.log") == 2 and is_published("shed.log")
    assert tracking.sync().done == []


def test_a_parent_is_chosen_without_its_children(schema: str) -> None:
    execute("CREATE TABLE shed.tool (id int); CREATE TABLE shed.saw_tmp (teeth int) INHERITS (shed.tool)")
    assert is_tracked("shed.tool")
    assert triggers("shed.saw_tmp") == 0 and not is_published("shed.saw_tmp")


@pytest.mark.administrator
def test_a_table_of_an_extension_is_left_alone(schema: str) -> None:
    execute("CREATE TABLE shed.tool (id int)")
    execute("ALTER EXTENSION plpgsql ADD TABLE shed.tool")
    try:
        tracking.sync()
        assert triggers("shed.tool") == 0
    finally:
        execute("ALTER EXTENSION plpgsql DROP TABLE shed.tool")


def one(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchone()[0]


def test_a_locked_table_is_tried_again(no_event_trigger: None) -> None:
    execute("CREATE TABLE shed.tool (id int)")
    with another_session() as cursor:
        cursor.execute("BEGIN; LOCK TABLE shed.tool IN ROW EXCLUSIVE MODE")

        def let_go_after_an_attempt() -> None:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'shed.tool'::regclass"
            with another_session() as observer:
                for is_waiting in (True, False):
                    until(lambda: one(observer, waiting) == is_waiting)  # noqa: B023
            cursor.connection.rollback()

        with ThreadPoolExecutor(1) as pool:
            release = pool.submit(let_go_after_an_attempt)
            assert tracking.sync(lock_timeout=0.1, attempts=1000).failed == []
            release.result()
    assert is_tracked("shed.tool")


def test_two_sessions_at_once_remember_the_identity_that_a_table_had(no_event_trigger: None) -> None:
    execute("CREATE TABLE shed.tool (id int)")
    tracking.sync()
    execute("ALTER TABLE shed.tool REPLICA IDENTITY NOTHING")
    (step,) = (step for step in tracking.plan() if step.name == "shed.tool")
    with another_session() as cursor:
        cursor.execute("LOCK TABLE shed.tool IN ACCESS EXCLUSIVE MODE")

        def correct_it_first() -> None:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'shed.tool'::regclass"
            until(lambda: one(cursor, waiting) == 1)
            cursor.execute(step.statement)
            cursor.connection.commit()

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(correct_it_first)
            assert tracking.sync().failed == []
            first.result()
    known = "SELECT kind FROM _bemi.replica_identities WHERE relation = 'shed.tool'::regclass"
    assert execute(known) == [("n",)] and is_tracked("shed.tool")


def test_a_table_that_stays_locked_is_reported_and_the_others_are_done(no_event_trigger: None) -> None:
    execute("CREATE TABLE shed.nail (id int); CREATE TABLE shed.tool (id int)")
    with another_session() as cursor:
        cursor.execute("BEGIN; LOCK TABLE shed.nail IN ROW EXCLUSIVE MODE")
        outcome = tracking.sync(lock_timeout=0.05, attempts=2)
    assert outcome.failed == ["shed.nail: canceling statement due to lock timeout"]
    assert is_tracked("shed.tool") and triggers("shed.nail") == 0


@pytest.fixture
def foreign_database(transactional_db: None) -> Iterator[str]:
    """A database that belongs to a role without rights elsewhere; Django is connected as that role."""
    execute("CREATE ROLE app_owner LOGIN PASSWORD 'secret'")
    execute("CREATE DATABASE app_db OWNER app_owner")
    with another_session(dbname="app_db") as cursor:
        cursor.execute("CREATE TABLE public.of_another (id int)")
        cursor.execute("GRANT ALL ON SCHEMA public TO app_owner; COMMIT")
    original = connection.settings_dict
    connection.close()
    connection.settings_dict = {**original, "USER": "app_owner", "PASSWORD": "secret", "NAME": "app_db"}
    yield "app_db"
    connection.close()
    connection.settings_dict = original
    roles.drop_database("app_db")
    execute("DROP ROLE app_owner")


@pytest.mark.administrator
def test_a_role_needs_to_own_its_tables_and_no_more(foreign_database: str) -> None:
    execute(sql.up(*sql.SOURCE))
    execute("CREATE TABLE tool (id int)")
    outcome = tracking.sync()
    assert is_tracked("tool")
    (refused,) = outcome.failed
    assert refused.startswith("public.of_another: ") and "as the owner of the table" in refused
    assert not any("event trigger" in line for line in outcome.done)
