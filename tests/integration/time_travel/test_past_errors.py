# ruff: noqa: SIM117, S608 - which block raises is what is tested; the SQL of tests
"""Where the past is not known ``as_of()`` says so, and from when on it is; it never gives half an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.test import override_settings

from bemi_django import skip_tracking
from bemi_django.exceptions import BemiError, HistoryError, LogBehind
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from tests.shop.models import Category, Product
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.server_conditions import no_event_triggers
from tests.support.travel import here, settled


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


COMPLETE = r"is complete from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 \([0-9A-F]+/[0-9A-F]+\) on"


@pytest.fixture(autouse=True)
def not_waiting() -> Iterator[None]:
    with settled:
        yield


@pytest.fixture
def tables(drain: Drain) -> Iterator[Drain]:
    yield drain
    for table in ("tool", "tools"):
        execute(f"DROP TABLE IF EXISTS {table} CASCADE")
    tracking.sync()


def test_a_moment_before_the_log_began(drain: Drain) -> None:
    with pytest.raises(HistoryError, match=f"is before history {COMPLETE}"), as_of("0/10"):
        pass


def test_a_table_that_was_tracked_later(tables: Drain) -> None:
    with no_event_triggers():
        execute("CREATE TABLE tool (id int PRIMARY KEY)")
        execute("INSERT INTO tool VALUES (1), (2)")
        Category.objects.create(name="a")
        before = here()
    tracked = here()
    execute("UPDATE tool SET id = 3 WHERE id = 1")
    tables()
    with as_of(before):
        assert Category.objects.count() == 1
        told = rf"{before} is before history of public.tool {COMPLETE}"
        with pytest.raises(HistoryError, match=told) as refused:
            execute("SELECT * FROM tool")
    assert f"from {refused.value.since.isoformat(timespec='seconds')} (" in str(refused.value)
    # Rows that are older than the log are seen, changed since or not.
    with as_of(tracked):
        assert execute("SELECT * FROM tool ORDER BY id") == [(1,), (2,)]


def test_a_table_that_nobody_has_noticed_is_not_taken_for_its_past(tables: Drain) -> None:
    with no_event_triggers():
        before = here()
        execute("CREATE TABLE tool (id int PRIMARY KEY)")
        with pytest.raises(HistoryError, match="^public.tool have no view .* run 'manage.py bemi sync'$"):
            with as_of(before):
                pass
    with as_of(before):
        assert Category.objects.count() == 0


def test_a_gap(drain: Drain) -> None:
    before = here()
    Category.objects.create(name="a")
    (change,) = drain()
    execute(
        """INSERT INTO changes (id, database, schema, "table", operation, context, committed_at, queued_at,
                                transaction_id, position)
           SELECT _bemi.bound_v1(position + 8), database, '', '', 'GAP', '{"reason": "the slot is gone"}',
                  committed_at, queued_at, 0, position + 16 FROM changes"""
    )
    after = here()
    for moment in (before, change):
        with (
            pytest.raises(HistoryError, match=rf"lost \(the slot is gone\): history {COMPLETE}") as refused,
            as_of(moment),
        ):
            pass
        assert refused.value.since == change.committed_at
    with as_of(after):
        assert Category.objects.count() == 1


def test_positions_of_an_earlier_server_are_before_all_of_this_one(drain: Drain) -> None:
    """A backup was restored to a new server, whose WAL has not come as far as that of the old one."""
    Category.objects.create(name="a")
    drain()
    execute(
        """UPDATE _bemi.histories SET number = 1;
           INSERT INTO _bemi.histories (slot, number, system_identifier, timeline, start_lsn, reason)
           SELECT slot, 0, '1', 1, '0/0', 'the log begins' FROM _bemi.histories;
           UPDATE changes SET id = _bemi.bound_v1(_bemi.sequence_v1(id) + (1::bigint << 48))"""
    )
    before = here()
    Category.objects.update(name="b")
    drain()
    assert [change.operation for change in Change.objects.asc()] == ["CREATE", "UPDATE"]
    assert Change.objects.desc()[0].after["name"] == "b"
    with as_of(before):
        assert Category.objects.get().name == "a"


def test_a_table_that_was_truncated(drain: Drain) -> None:
    category = Category.objects.create(name="a")
    before = here()
    execute("TRUNCATE shop_category CASCADE")
    truncated = here()
    Category.objects.create(pk=category.pk, name="b")
    drain()
    with as_of(before):
        with pytest.raises(HistoryError, match=rf"shop_category was truncated: history .* {COMPLETE}"):
            Category.objects.get()
    with as_of(truncated):
        assert Category.objects.count() == 0


def test_changes_that_were_not_to_be_recorded(drain: Drain) -> None:
    Category.objects.create(name="a")
    before = here()
    with skip_tracking(reason="import"):
        Category.objects.update(name="b")
    after = here()
    drain()
    with as_of(before):
        assert Product.objects.count() == 0
        with pytest.raises(HistoryError, match=rf"excluded from the log: history .* {COMPLETE}"):
            Category.objects.get()
    with as_of(after):
        assert Category.objects.get().name == "b"


@pytest.mark.parametrize("is_synced", [True, False], ids=["synced", "noticed"])
@pytest.mark.parametrize(
    ("ddl", "query", "reason"),
    [
        ("CREATE TABLE tool (id int)", "tool", "has no primary key"),
        ("CREATE VIEW tool AS SELECT * FROM shop_category", "tool", "is a view"),
        ("CREATE VIEW tool AS SELECT 1; ALTER VIEW tool RENAME TO tools", "tools", "is a view"),
        ("CREATE MATERIALIZED VIEW tool AS SELECT * FROM shop_category", "tool", "is a view"),
        ("CREATE UNLOGGED TABLE tool (id int PRIMARY KEY)", "tool", "is not tracked"),
        (
            "CREATE TABLE tool (id int PRIMARY KEY); CREATE TABLE tools () INHERITS (tool)",
            "tool",
            "inheritance",
        ),
        (
            "CREATE TABLE tool (id int PRIMARY KEY); CREATE TABLE tools (id int PRIMARY KEY); "
            "ALTER TABLE tools INHERIT tool",
            "tool",
            "inheritance",
        ),
        (
            "CREATE TABLE tool (id int PRIMARY KEY) PARTITION BY LIST (id); "
            "CREATE TABLE tools PARTITION OF tool DEFAULT",
            "tools",
            "is a partition: query tool",
        ),
        ("SELECT", "django_session", "is not tracked"),
    ],
)
def test_a_table_without_a_past(ddl: str, query: str, reason: str, is_synced: bool, tables: Drain) -> None:
    for statement in ddl.split("; "):
        execute(statement)
    if is_synced:
        tracking.sync()
    tables()
    with as_of(here()):
        with pytest.raises(HistoryError, match=f"public.{query} .*{reason}"):
            execute(f"SELECT * FROM {query}")
    if "VIEW" in ddl:
        execute(f"DROP {'MATERIALIZED' if 'MATERIALIZED' in ddl else ''} VIEW {query}")


def test_what_came_unnoticed_to_another_schema(tables: Drain) -> None:
    """A statement can name it only with its schema, so the others need not wait for it."""
    execute("CREATE SCHEMA lab")
    try:
        with override_settings(BEMI_INCLUDE=["public.*", "lab.*"]):
            execute("CREATE TABLE lab.tool (id int PRIMARY KEY)")
            tracking.sync()
            name = connections["default"].settings_dict["NAME"]
            with no_event_triggers():
                execute("CREATE VIEW lab.shown AS SELECT * FROM lab.tool; CREATE TABLE lab.late (id int)")
                tables()
                with as_of(here()):
                    assert execute("SELECT * FROM lab.tool") == []
                    for query in ("lab.shown", '"lab" . "shown"', "lab.late", f'"{name}".lab.shown'):
                        with pytest.raises(
                            HistoryError, match=r"lab\.\w+ have no view.*run 'manage.py bemi sync'"
                        ):
                            execute(f"SELECT * FROM {query}")
    finally:
        execute("DROP SCHEMA lab CASCADE")


def test_a_table_without_columns_is_no_reason_to_refuse_others(tables: Drain) -> None:
    execute("CREATE TABLE tool ()")
    tracking.sync()
    tables()
    with as_of(here()):
        assert Category.objects.count() == 0


def test_a_break_in_tracking(tables: Drain) -> None:
    execute("CREATE TABLE tool (id int PRIMARY KEY)")
    execute("INSERT INTO tool VALUES (1)")
    before = here()
    with override_settings(BEMI_EXCLUDE=["*.tool"]):
        tracking.sync()
        execute("DELETE FROM tool")
    tracking.sync()
    tables()
    with as_of(before):
        with pytest.raises(HistoryError, match=f"is before history of public.tool {COMPLETE}"):
            execute("SELECT * FROM tool")
    with as_of(here()):
        assert execute("SELECT * FROM tool") == []


def test_another_table_of_the_same_name(tables: Drain) -> None:
    execute("CREATE TABLE tool (id int PRIMARY KEY)")
    before = here()
    execute("DROP TABLE tool")
    execute("CREATE TABLE tool (id int PRIMARY KEY)")
    tables()
    with as_of(before):
        with pytest.raises(HistoryError, match="is before history of public.tool"):
            execute("SELECT * FROM tool")


def test_what_the_log_does_not_have_of_a_row(drain: Drain) -> None:
    Category.objects.create(name="a")
    before = here()
    Category.objects.update(name="b")
    drain()
    execute(
        "UPDATE changes SET before = before - 'name', unavailable = '{\"before\": [\"name\"]}' "
        "WHERE operation = 'UPDATE'"
    )
    with as_of(before):
        assert Category.objects.values("id").count() == 1
        with pytest.raises(HistoryError, match="does not have the value that public.shop_category.name had"):
            Category.objects.get()


def test_a_database_without_a_worker(transactional_db: None) -> None:
    execute("DELETE FROM _bemi.checkpoint")
    with pytest.raises(LogBehind, match="this database has no log yet: run 'manage.py bemi run'"):
        with as_of(here()):
            pass


def test_a_log_on_another_server(transactional_db: None, settings: Any) -> None:
    settings.BEMI_DESTINATION = "other"
    execute("ALTER FUNCTION _bemi.past_refresh_v1 RENAME TO absent")
    try:
        with pytest.raises(HistoryError, match="is in 'other' .BEMI_DESTINATION.*both in one database"):
            with as_of("0/10"):
                pass
    finally:
        execute("ALTER FUNCTION _bemi.absent RENAME TO past_refresh_v1")


def test_views_that_the_role_could_not_make(drain: Drain) -> None:
    execute("ALTER SCHEMA _bemi_past_public RENAME TO gone")
    try:
        with pytest.raises(HistoryError, match="GRANT CREATE ON DATABASE"), as_of(here()):
            pass
    finally:
        execute("ALTER SCHEMA gone RENAME TO _bemi_past_public")


def test_a_query_that_is_wrong_stays_wrong(drain: Drain) -> None:
    with as_of(here()):
        with pytest.raises(DatabaseError) as caught:
            execute("SELECT nothing")
    assert not isinstance(caught.value.__cause__, BemiError)
