"""``post_migrate`` syncs only if the catalogs have changed since it last did in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import UserSettingsHolder
from django.conf import settings as global_settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, override_settings

from bemi_django.apps import _track_new_tables
from bemi_django.schema import tracking
from bemi_django.schema.django_commands import catalog_state
from sample_project.todos.models import Todo

#: What makes a sync necessary, or may.
CHANGES = [
    "CREATE TABLE stated.one (id int)",
    "CREATE TABLE stated.one PARTITION OF stated.whole FOR VALUES IN (1)",
    "CREATE VIEW stated.one AS SELECT 1 AS id",
    "CREATE TYPE stated.one AS ENUM ('a')",
    "CREATE FUNCTION stated.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA stated_aside",
    "ALTER TABLE stated.thing ADD COLUMN note text",
    "ALTER TABLE stated.thing RENAME COLUMN name TO named",
    "ALTER TABLE stated.thing RENAME TO renamed",
    "ALTER TABLE stated.thing ALTER COLUMN name TYPE varchar",
    "ALTER TABLE stated.thing DROP COLUMN name",
    "ALTER TABLE stated.thing ADD UNIQUE (name)",
    "ALTER TABLE stated.thing DROP CONSTRAINT thing_pkey",
    "ALTER TABLE stated.thing SET SCHEMA stated_other",
    "ALTER TABLE stated.thing DISABLE TRIGGER _bemi_capture",
    "ALTER TABLE stated.thing REPLICA IDENTITY NOTHING",
    "ALTER TABLE stated.whole DETACH PARTITION stated.part",
    "ALTER TYPE stated.mood ADD VALUE 'bad'",
    "ALTER TYPE stated.mood RENAME TO temper",
    "ALTER TYPE stated.pair RENAME ATTRIBUTE b TO c",
    "ALTER SCHEMA stated_other RENAME TO stated_aside",
    "ALTER PUBLICATION bemi DROP TABLE stated.thing",
    "DROP TRIGGER _bemi_capture ON stated.thing",
    "DROP TABLE stated.thing",
    "DROP VIEW _bemi_past_stated.thing",
    "DROP FUNCTION _bemi_past_stated.thing() CASCADE",
]
#: What a flush and the server itself do.
OTHERS = [
    "TRUNCATE stated.thing",
    "INSERT INTO stated.thing VALUES (1, 'a')",
    "VACUUM ANALYZE stated.thing",
    "VACUUM FULL stated.thing",
    "REINDEX TABLE stated.thing",
]


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def schema(transactional_db: None, settings: Any) -> Iterator[None]:
    settings.BEMI_INCLUDE = ["public.*", "stated.*"]
    execute(
        "CREATE SCHEMA stated; CREATE SCHEMA stated_other; CREATE TYPE stated.mood AS ENUM ('good'); "
        "CREATE TYPE stated.pair AS (a int, b int); "
        "CREATE TABLE stated.thing (id int PRIMARY KEY, name text, mood stated.mood, pair stated.pair); "
        "CREATE TABLE stated.whole (id int PRIMARY KEY) PARTITION BY LIST (id); "
        "CREATE TABLE stated.part PARTITION OF stated.whole FOR VALUES IN (2); "
        "CREATE TABLE stated.parent (id int PRIMARY KEY); "
        "CREATE TABLE stated.child (PRIMARY KEY (id)) INHERITS (stated.parent)"
    )
    tracking.sync()
    _track_new_tables("default")
    yield
    execute("DROP SCHEMA IF EXISTS stated, stated_other, stated_aside CASCADE")
    del settings.BEMI_INCLUDE
    tracking.sync()


def plans() -> int:
    """Return how many plans ``post_migrate`` makes."""
    with CaptureQueriesContext(connection) as queries:
        _track_new_tables("default")
    return sum("plan_v1(" in query["sql"] for query in queries)


def unfollowed(statement: str) -> None:
    """Execute DDL that no event trigger brings in line, as a role does that could not make one."""
    with transaction.atomic():
        execute("SELECT set_config('_bemi.is_following', 'yes', true)")
        execute(statement)


@pytest.mark.parametrize("statement", CHANGES)
def test_what_has_changed_is_synced(schema: None, statement: str) -> None:
    unfollowed(statement)
    assert plans() == 1
    assert [step for step in tracking.plan() if step.statement] == []
    assert plans() == 0


def test_a_flush_makes_no_plan(schema: None) -> None:
    for statement in OTHERS:
        execute(statement)
        assert plans() == 0, statement


def test_other_settings_make_a_plan(schema: None, settings: Any) -> None:
    settings.BEMI_EXCLUDE = ["stated.*"]
    assert plans() == 1
    assert plans() == 0
    settings.BEMI_EXCLUDE = []
    assert plans() == 1


def test_a_setting_of_requests_makes_no_plan(schema: None, settings: Any) -> None:
    settings.MIDDLEWARE = []
    settings.BEMI_CONTEXT_FUNCTION = "shop.audit.context"
    assert plans() == 0


def test_a_sync_reads_no_setting_of_requests(schema: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()

    class Recorded(UserSettingsHolder):
        def __getattr__(self, name: str) -> Any:
            read.add(name)
            return super().__getattr__(name)

    lazy: Any = global_settings
    catalog_state.forget("default")
    # Undone before the settings of the fixture are.
    with monkeypatch.context() as patch:
        patch.setattr(lazy, "_wrapped", Recorded(lazy._wrapped))
        assert plans() == 1
    assert "BEMI_INCLUDE" in read
    assert read & catalog_state._OF_REQUESTS == set()


def test_a_transaction_makes_a_plan_each_time(schema: None) -> None:
    """What it does to the same row twice cannot be told apart."""
    with transaction.atomic():
        assert (plans(), plans()) == (1, 1)
    assert plans() == 1
    assert plans() == 0


def test_what_failed_is_tried_again(schema: None, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog_state.forget("default")
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "_refresh_past", lambda using, schema: "as_of(): no")
        assert plans() == 1
        assert plans() == 1
    assert plans() == 1
    assert plans() == 0


def test_a_test_that_may_not_use_the_database_of_the_log_is_flushed(schema: None) -> None:
    """Django refuses all databases but those that the test names."""
    with override_settings(BEMI_DESTINATION="other"):
        assert plans() == 1
        assert plans() == 0


def test_a_database_is_emptied_with_the_settings_of_the_project(
    monkeypatch: pytest.MonkeyPatch, settings: Any, transactional_db: None
) -> None:
    """Neither what cannot be read nor what is not there is asked for when the test has ended."""
    monkeypatch.setattr("bemi_django.schema.tenancy.has_tenants", lambda alias: True)
    settings.BEMI_IGNORE_COLUMNS = 7
    # Django empties nothing, and sends no signal, where there is nothing.
    Todo.objects.create(task="left behind")
