"""Which tables are tracked, which are not and why, wherever a project keeps them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db import connection

from bemi_django.schema import coverage, tracking
from bemi_django.schema.replication import chosen_tables
from tests.support.project_database import execute
from tests.support.server_conditions import as_migrator, no_event_triggers, sync_as_migrator


def warnings_of(*ids: str) -> list[CheckMessage]:
    return [found for found in run_checks(databases=["default"]) if found.id in ids]


def tracked() -> set[str]:
    return {table.name for table in coverage.read_coverage("default") if table.is_tracked}


@contextmanager
def new_sessions_with(options: str) -> Iterator[None]:
    """Connect with these options of libpq."""
    original = connection.settings_dict
    connection.close()
    connection.settings_dict = {**original, "OPTIONS": {**original["OPTIONS"], "options": options}}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = original


@pytest.fixture
def schemas(transactional_db: None, settings: Any) -> Iterator[None]:
    execute('CREATE SCHEMA data; CREATE SCHEMA "It\'s, ""one"""; CREATE SCHEMA attic')
    yield
    execute('DROP SCHEMA data CASCADE; DROP SCHEMA "It\'s, ""one""" CASCADE; DROP SCHEMA attic CASCADE')
    for name in ("BEMI_INCLUDE", "BEMI_EXCLUDE"):
        if hasattr(settings, name):
            delattr(settings, name)
    tracking.sync()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data,public", ["data.*", "public.*"]),
        ("public,attic,pg_catalog,nowhere", ["public.*", "attic.*"]),
        ('"It\'s,\\ ""one""",DATA', ['It\'s, "one".*', "data.*"]),
        ('"$user"', []),
        ("pg_catalog", []),
    ],
)
def test_by_default_tables_are_tracked_where_new_sessions_find_them(
    schemas: None, path: str, expected: list[str]
) -> None:
    with new_sessions_with(f"-c search_path={path}"):
        assert chosen_tables.included("default") == expected
        # Projects with a schema for each tenant change the path from request to request.
        execute("SET search_path = attic")
        assert chosen_tables.included("default") == expected


def test_a_project_with_a_search_path_of_its_own_is_tracked(schemas: None) -> None:
    with new_sessions_with("-c search_path=data,public"):
        execute("CREATE TABLE thing (id int PRIMARY KEY)")
        tracking.sync()
        assert {"data.thing", "public.todo"} <= tracked()
        # The event trigger takes the tables that sync has chosen.
        execute("CREATE TABLE another (id int PRIMARY KEY)")
        assert "data.another" in tracked()
    assert warnings_of("bemi.W013") == []


def test_an_empty_schema_of_the_search_path_is_no_warning_unless_all_are(schemas: None) -> None:
    with new_sessions_with("-c search_path=attic,public"):
        assert warnings_of("bemi.W013") == []
    with new_sessions_with("-c search_path=attic,data"):
        (message,) = warnings_of("bemi.W013")
    assert "attic.*, data.*" in message.msg


def test_patterns_that_match_nothing_are_reported(schemas: None, settings: Any) -> None:
    settings.BEMI_INCLUDE = ["public.*", "nowhere.*", "attic.*", "public.todo"]
    assert coverage.unmatched_patterns("default") == ["nowhere.*", "attic.*"]
    (message,) = warnings_of("bemi.W013")
    assert "nowhere.*, attic.*" in message.msg
    execute("CREATE TABLE attic.thing (id int)")
    assert coverage.unmatched_patterns("default") == ["nowhere.*"]
    settings.BEMI_INCLUDE, settings.BEMI_EXCLUDE = ["attic.*"], ["attic.*"]
    tracking.sync()
    (message,) = warnings_of("bemi.W013")
    assert message.msg == "All tables of 'default' are left out: nothing is recorded."


def test_children_outside_the_patterns_are_reported(schemas: None) -> None:
    execute("CREATE TABLE public.parent (id int); CREATE TABLE attic.child () INHERITS (public.parent)")
    execute("CREATE TABLE public.child () INHERITS (public.parent)")
    try:
        (message,) = warnings_of("bemi.W014")
        assert (
            message.msg.startswith("1 tables of 'default'") and "attic.child (public.parent)" in message.msg
        )
        (child,) = (table for table in coverage.read_coverage("default") if table.name == "attic.child")
        assert (child.is_tracked, child.parent) == (False, "public.parent")
    finally:
        execute("DROP TABLE public.parent CASCADE")
    assert warnings_of("bemi.W014") == []


@pytest.mark.parametrize(
    "name", ["changes", "changes_2031_12", "checkpoint", "dead_letters", "_bemi_changes"]
)
def test_a_table_that_has_a_name_of_ours_is_a_table_like_any_other(
    schemas: None, settings: Any, name: str
) -> None:
    settings.BEMI_INCLUDE = ["public.*", "data.*"]
    execute(f"CREATE TABLE data.{name} (id int PRIMARY KEY)")
    tracking.sync()
    assert f"data.{name}" in tracked()
    assert not {"public.changes", "_bemi.checkpoint"} & tracked()


@pytest.mark.administrator
def test_missing_event_triggers_are_reported(schemas: None) -> None:
    assert warnings_of("bemi.W015") == []
    with no_event_triggers():
        (message,) = warnings_of("bemi.W015")
        assert "'default'" in message.msg
        sync_as_migrator()
        with as_migrator():
            output = io.StringIO()
            call_command("bemi", "sync", stdout=output)
            assert output.getvalue().startswith("no event triggers: this role may not create them")
            assert "nothing to do" not in output.getvalue()
    assert warnings_of("bemi.W015") == []


def test_every_table_is_tracked_or_has_a_reason(schemas: None, settings: Any) -> None:
    settings.BEMI_INCLUDE, settings.BEMI_EXCLUDE = ["public.*", "data.*"], ["data.left_*"]
    execute(
        "CREATE TABLE data.one (id int); CREATE TABLE data.left_out (id int); CREATE TABLE attic.two (id int)"
    )
    execute("CREATE UNLOGGED TABLE data.fast (id int)")
    tracking.sync()
    found = {table.name: table.reason for table in coverage.read_coverage("default")}
    execute("ALTER PUBLICATION bemi DROP TABLE data.one")
    taken = {table.name: table.reason for table in coverage.read_coverage("default")}
    del settings.BEMI_EXCLUDE
    expected = {
        "data.one": "",
        "data.left_out": "excluded by BEMI_EXCLUDE or by default",
        "attic.two": "not in BEMI_INCLUDE",
        "data.fast": "unlogged",
    }
    assert {name: found[name] for name in expected} == expected
    assert taken["data.one"] == "missing: published"


def test_a_summary_counts_by_reason() -> None:
    tables = [
        coverage.TableCoverage("a.a", True),
        coverage.TableCoverage("a.b", False, "unlogged", "unlogged"),
        coverage.TableCoverage("a.c", False, "not in BEMI_INCLUDE"),
        coverage.TableCoverage("a.d", False, "not in BEMI_INCLUDE"),
    ]
    assert coverage.summary(tables) == "1 tables tracked, 3 not: 2 not in BEMI_INCLUDE, 1 unlogged"
    assert coverage.summary([]) == "0 tables tracked"
    due = coverage.TableCoverage("a.e", False, "missing: triggers", needs_sync=True)
    assert coverage.summary([due]) == "0 tables tracked, 1 not: 1 missing: triggers"
    assert coverage.summary([*tables[:2], due], is_plan=True) == (
        "1 tables tracked, 1 to be tracked, 1 not: 1 unlogged"
    )
