"""Nothing can be written while the site is shown as it was, whatever a view sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InternalError, connections, transaction

from bemi_django.exceptions import PastIsReadOnly
from bemi_django.site_past.read_only import read_only

ATTACKS = (
    "INSERT INTO attacked (note) VALUES ('x')",
    "SELECT nextval('attacked_id_seq')",
    "SELECT setval('attacked_id_seq', 99)",
    "SELECT * INTO attacked_copy FROM attacked",
    "CREATE TABLE attacked_copy AS SELECT 1",
    "SELECT attack()",
    "WITH written AS (DELETE FROM attacked RETURNING id) SELECT * FROM written",
    "DO $$ BEGIN DELETE FROM attacked; END $$",
    "DO $$ BEGIN COMMIT; DELETE FROM attacked; END $$",
    "CALL attack_later()",
    "EXPLAIN ANALYZE DELETE FROM attacked",
    "VACUUM attacked",
    "TRUNCATE attacked",
    "DROP TABLE attacked",
    "SELECT id FROM attacked FOR UPDATE",
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SET LOCAL transaction_read_only = off",
    "COMMIT; DELETE FROM attacked",
    "SELECT 1; /* then */ ROLLBACK; DELETE FROM attacked",
    "END",
    "ABORT",
    "BEGIN READ WRITE",
    "START TRANSACTION READ WRITE",
    "PREPARE TRANSACTION 'attack'",
)
STATE = "SELECT count(*), (SELECT last_value FROM attacked_id_seq) FROM attacked"


@pytest.fixture
def other(transactional_db: None) -> Iterator[Any]:
    """Another database, which has no log, with a table that is attacked."""
    with connections["other"].cursor() as cursor:
        cursor.execute(
            """
            CREATE TABLE attacked (id serial PRIMARY KEY, note text);
            INSERT INTO attacked (note) VALUES ('kept');
            CREATE FUNCTION attack() RETURNS void LANGUAGE sql AS 'DELETE FROM attacked';
            CREATE PROCEDURE attack_later() LANGUAGE plpgsql AS 'BEGIN COMMIT; DELETE FROM attacked; END'
            """
        )
        yield cursor
        cursor.execute("DROP FUNCTION attack(); DROP PROCEDURE attack_later(); DROP TABLE attacked")


def state(cursor: Any) -> Any:
    cursor.execute(STATE)
    return cursor.fetchone()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_no_statement_writes_to_a_database_without_a_log(other: Any) -> None:
    before = state(other)
    for attack in ATTACKS:
        with pytest.raises((DatabaseError, PastIsReadOnly)), read_only("other"):
            other.execute(attack)
        assert state(other) == before, attack
    # Nor does the driver, which passes no wrapper.
    with (
        pytest.raises(Exception, match="read-only transaction"),
        read_only("other"),
        connections["other"].connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM attacked")
    other.execute("SELECT to_regclass('attacked_copy')")
    assert (state(other), other.fetchone()) == (before, None)
    other.execute("DELETE FROM attacked")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_reading_is_allowed_and_writing_is_again_afterwards(other: Any) -> None:
    with read_only("other"), transaction.atomic("other"):
        assert state(other)[0] == 1
        with pytest.raises(InternalError), transaction.atomic("other"):
            other.execute("DELETE FROM attacked")
        assert state(other)[0] == 1
    with transaction.atomic("other"):
        with read_only("other"):
            assert state(other)[0] == 1
        other.execute("DELETE FROM attacked")
        assert state(other)[0] == 0


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_nothing_waits_for_a_commit(other: Any) -> None:
    called: list[str] = []

    def hook(name: str) -> None:
        transaction.on_commit(lambda: called.append(name), using="other")

    with read_only("other"):
        hook("alone")
        with transaction.atomic("other"):
            hook("in a savepoint")
    with transaction.atomic("other"):
        hook("before")
        with read_only("other"):
            hook("nested")
        hook("after")
        with pytest.raises(RuntimeError), read_only("other"):
            hook("failing")
            raise RuntimeError
    assert called == ["before", "after"]
    # Whatever the server does at a commit is undone.
    with read_only("other"):
        other.execute("SELECT set_config('bemi_tests.kept', 'yes', false)")
    other.execute("SELECT current_setting('bemi_tests.kept', true)")
    assert other.fetchone()[0] in (None, "")


@pytest.fixture
def lite(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[Any]:
    """A cursor of a database that is not PostgreSQL."""
    monkeypatch.setitem(connections.settings, "lite", {**connections.settings["default"]})
    connections.settings["lite"].update(ENGINE="django.db.backends.sqlite3", NAME=":memory:", OPTIONS={})
    with django_db_blocker.unblock(), connections["lite"].cursor() as cursor:
        cursor.execute("CREATE TABLE attacked (id integer PRIMARY KEY, note text)")
        cursor.execute("INSERT INTO attacked (note) VALUES ('kept; as it is')")
        yield cursor
    connections["lite"].close()
    del connections["lite"]


def test_elsewhere_nothing_waits_for_a_commit_either(lite: Any) -> None:
    called: list[str] = []
    with transaction.atomic("lite"):
        with read_only("lite"):
            transaction.on_commit(lambda: called.append("inside"), using="lite")
        transaction.on_commit(lambda: called.append("after"), using="lite")
    assert called == ["after"]


def test_elsewhere_only_statements_that_read_are_sent(lite: Any) -> None:
    for attack in (
        "REPLACE INTO attacked VALUES (1, 'x')",
        "PRAGMA user_version = 7",
        "VACUUM",
        "ATTACH ':memory:' AS more",
        "WITH x AS (SELECT 1) DELETE FROM attacked",
        "WITH x AS (SELECT 1) REPLACE INTO attacked VALUES (1, 'x')",
        "SELECT 1; DELETE FROM attacked",
        "SELECT note INTO OUTFILE '/tmp/x' FROM attacked",
        "/*! DELETE FROM attacked */",
        "/*M! INSERT INTO attacked */ SELECT 1, 'x'",
        "-- SELECT\nDELETE FROM attacked",
        "ANALYZE",
        "COMMIT",
        "CALL attack()",
        "",
    ):
        with pytest.raises(PastIsReadOnly), read_only("lite"):
            lite.execute(attack)
    with read_only("lite"), transaction.atomic("lite"):
        lite.execute("/* page */ SELECT note FROM attacked WHERE id = %s", [1])
        assert lite.fetchall() == [("kept; as it is",)]
        lite.execute("WITH x AS (SELECT id FROM attacked) SELECT count(*) FROM x;")
        assert lite.fetchall() == [(1,)]


def test_a_database_that_cannot_be_reached_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> None:
    monkeypatch.setitem(connections.settings, "away", {**connections.settings["default"]})
    connections.settings["away"].update(HOST="127.0.0.1", PORT="1")
    with django_db_blocker.unblock(), read_only("away"), pytest.raises(DatabaseError):
        connections["away"].cursor()
    del connections["away"]


def test_neither_does_one_that_is_none(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> None:
    monkeypatch.setitem(connections.settings, "empty", {})
    connections.configure_settings(connections.settings)
    with django_db_blocker.unblock(), read_only("empty"), pytest.raises(ImproperlyConfigured):
        connections["empty"].cursor()
    del connections["empty"]
