"""``BEMI_APPEND_ONLY``: nothing but our functions and commands changes or removes rows of the log."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from bemi_django import conf
from bemi_django.doctor import append_only_log
from bemi_django.models import Change
from bemi_django.retention.pruning import prune
from bemi_django.schema import append_only, tracking
from bemi_django.testing import changeable_log
from bemi_django.wire.ids import change_id
from tests.support.old_months import FIRST, SECOND, old_months, rows, write
from tests.support.pipeline import Drain
from tests.support.project_database import execute

MONTH = f"changes_{FIRST.replace('-', '_')}"
CHANGES_OF_ROWS = (
    "UPDATE {0} SET context = '{{}}'",
    "UPDATE {0} SET context = '{{}}' WHERE false",
    "DELETE FROM {0}",
    "TRUNCATE {0}",
    "INSERT INTO {0} SELECT * FROM {0} ON CONFLICT (id, committed_at) DO UPDATE SET context = '{{}}'",
)
HIDE = "CREATE OR REPLACE FUNCTION hide(hidden) RETURNS json IMMUTABLE LANGUAGE sql AS $$ SELECT {} $$;"
UPDATE_MONTH = CHANGES_OF_ROWS[0].format(MONTH)
DELETE_NOTHING = f"DELETE FROM {MONTH} WHERE false"  # noqa: S608 - a name of our own
#: What somebody might try to make a permit with.
PRETENCES = (
    "SELECT set_config('_bemi.permits', 'yes', true), set_config('_bemi.is_following', 'yes', true)",
    "CREATE TEMPORARY TABLE IF NOT EXISTS permits AS SELECT pg_current_xact_id() AS xid",
)


@pytest.fixture
def protected(transactional_db: None, settings: Any) -> Iterator[None]:
    """A log that is append-only, with a month that has two rows."""
    settings.BEMI_APPEND_ONLY = True
    with old_months():
        write(1)
        write(2, table="shop_category")
        assert "append-only: the log" in tracking.sync().done
        yield
        settings.BEMI_APPEND_ONLY = False
        assert "no longer append-only: the log" in tracking.sync().done
        execute("DELETE FROM _bemi.permits")


def refused(statement: str) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            for pretence in PRETENCES:
                cursor.execute(pretence)
            cursor.execute(f"SET search_path = public; {statement}")
    except DatabaseError as error:
        assert "The log is append-only" in str(error), error
        return True
    return False


@pytest.mark.parametrize("statement", CHANGES_OF_ROWS)
def test_rows_are_not_changed_in_the_log_nor_in_a_month(protected: None, statement: str) -> None:
    assert refused(statement.format("changes"))
    assert refused(statement.format(MONTH))
    assert Change.objects.filter(database="shop").count() == 2


def test_new_months_are_append_only_as_well(protected: None) -> None:
    execute("SELECT _bemi.partition_v1('2003-07-01')")
    try:
        assert refused("DELETE FROM changes_2003_07")
        assert execute("SELECT count(*) FROM _bemi.changeable_v1()") == [(0,)]
        assert list(append_only.sync("default", dry_run=True)) == []
    finally:
        execute("DROP TABLE changes_2003_07")


def test_a_trigger_that_was_turned_off_is_reported_and_turned_on_again(protected: None) -> None:
    assert list(append_only_log.findings()) == []
    execute(f"ALTER TABLE {MONTH} DISABLE TRIGGER _bemi_append_only")
    (found,) = append_only_log.findings()
    assert found.id == "bemi.D017" and MONTH in found.message
    assert not refused(DELETE_NOTHING)
    assert "append-only: the log" in tracking.sync().done
    assert refused(DELETE_NOTHING)


def test_a_permit_is_for_one_transaction(protected: None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        with append_only.permitted(cursor, "test"):
            cursor.execute(UPDATE_MONTH)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(UPDATE_MONTH)
        cursor.execute("SELECT _bemi.permit_v1('left behind')")
    assert refused(UPDATE_MONTH)


def test_tests_may_empty_the_log(protected: None) -> None:
    with changeable_log():
        call_command("flush", "--noinput", verbosity=0, reset_sequences=False, inhibit_post_migrate=True)
        assert not Change.objects.exists()
        (found,) = append_only_log.findings()
        assert "changeable_log()" in found.message
    assert list(append_only_log.findings()) == []
    assert refused("TRUNCATE changes")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_rows_are_pruned_and_months_dropped(protected: None, settings: Any) -> None:
    settings.BEMI_RETENTION = {"shop.Category": "30 days"}
    try:
        assert prune("default", {"command": "test"}).changes == 1
        settings.BEMI_RETENTION = {"default": "30 days"}
        assert prune("default", {"command": "test"}).months[0] == FIRST
    finally:
        for table in ("completeness", "pruned", "prunings", "retention", "touched", "walked"):
            execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own


def test_months_are_archived_and_brought_back(
    protected: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may use one database only.
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    settings.BEMI_ARCHIVE = str(tmp_path / "archive")
    before = rows(FIRST)
    try:
        call_command("bemi", "archive", "--before", SECOND, stdout=io.StringIO())
        assert rows(FIRST) == []
        call_command("bemi", "import", FIRST, stdout=io.StringIO())
        assert rows(FIRST) == before
        with transaction.atomic(), connection.cursor() as cursor, append_only.permitted(cursor, "test"):
            cursor.execute("DELETE FROM changes WHERE id = %s", [str(UUID(bytes=change_id(8, 0, 1)))])
        call_command("bemi", "import", "--missing", FIRST, stdout=io.StringIO())
        assert rows(FIRST) == before
        assert refused(DELETE_NOTHING)
    finally:
        for table in ("completeness", "pruned", "prunings", "touched", "walked"):
            execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own


def test_changes_are_marked_as_diverged(protected: None) -> None:
    (last,) = execute("SELECT max(_bemi.sequence_v1(id)) FROM changes WHERE database = 'shop'")[0]
    assert execute("SELECT _bemi.mark_diverged_v1(1, 8, %s)", [last + 8]) == [(2,)]
    assert refused("UPDATE changes SET diverged = false")


def test_values_are_erased(protected: None, drain: Drain) -> None:
    execute("INSERT INTO shop_category (id, name) VALUES (4242, 'Ann')")
    drain()
    execute("DELETE FROM shop_category")
    drain()
    call_command("bemi", "erase", "shop.Category:4242", "--reason", "r", "--noinput", stdout=io.StringIO())
    found = Change.objects.filter(table="shop_category", primary_key="4242", operation="CREATE")
    assert [change.after["name"] for change in found] == [None]
    assert refused("UPDATE changes SET after = '{}'")


def test_dead_letters_are_read_again(protected: None, brief_drain: Drain, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"
    execute("CREATE TYPE hidden AS ENUM ('x')")
    execute(HIDE.format("to_json($1::text)") + "CREATE CAST (hidden AS json) WITH FUNCTION hide(hidden)")
    try:
        execute("CREATE TABLE safe (id int PRIMARY KEY, word hidden)")
        execute("INSERT INTO safe VALUES (1, 'x')")
        execute(HIDE.format("('{' || $1)::json"))
        assert [change.unavailable for change in brief_drain()] == [{"after": ["word"]}]
        execute(HIDE.format("to_json($1::text)"))
        out = io.StringIO()
        call_command("bemi", "retry-dead-letters", stdout=out)
        assert out.getvalue().strip() == "1 repaired, 0 kept"
        assert Change.objects.get(table="safe").after == {"id": 1, "word": "x"}
        assert refused("UPDATE changes SET after = '{}'")
    finally:
        execute("DROP TABLE IF EXISTS safe; DROP TYPE hidden CASCADE")
