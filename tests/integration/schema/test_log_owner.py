"""A log of a role of its own that is append-only: what each role may do, and what the commands still do."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from bemi_django import conf
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.models import Change
from bemi_django.schema import sql, tracking
from tests.support import log_attacks
from tests.support.old_months import FIRST, make, write
from tests.support.separate_roles import SLOT, django_as, grant, may, superuser

# It makes roles of its own.
pytestmark = pytest.mark.administrator

MONTH = f"changes_{FIRST.replace('-', '_')}"
OF_ROWS = (
    "UPDATE changes SET context = '{}'",
    "DELETE FROM changes",
    "TRUNCATE changes",
    f"DELETE FROM {MONTH}",  # noqa: S608 - a name of our own
    f"TRUNCATE {MONTH}",
    "SET session_replication_role = replica; DELETE FROM changes",
)
OF_THE_OWNER = (
    f"ALTER TABLE changes DETACH PARTITION {MONTH}",
    f"DROP TABLE {MONTH}",
    "DROP TABLE changes",
    "ALTER TABLE changes DISABLE TRIGGER ALL",
    f"ALTER TABLE {MONTH} DISABLE TRIGGER _bemi_append_only",
    "DROP TRIGGER _bemi_append_only ON changes",
    "SELECT _bemi.append_only_v1(false)",
    "SELECT _bemi.permit_v1('none')",
    "SELECT _bemi.protect_v1('changes')",
    "INSERT INTO _bemi.permits VALUES (NULL, 'none')",
    "CREATE OR REPLACE FUNCTION _bemi.refuse_change_v1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "SET ROLE bemi_log",
    # What these made would run with the rights of the worker, and of members of the owner.
    *(
        f"{statement} _bemi.{table} {rest}"
        for table in ("relations", "past", "tracking", "followed", "replica_identities", "saved_views")
        for statement, rest in (
            ("CREATE TRIGGER trap BEFORE INSERT ON", "EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
            ("CREATE POLICY trap ON", "USING (trap())"),
            ("CREATE INDEX ON", "((trap()))"),
        )
    ),
)
#: A table whose owner has others make permits to change the log.
TRAP = """
CREATE TABLE person (mail text PRIMARY KEY);
CREATE FUNCTION trap() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
    INSERT INTO _bemi.permits VALUES (NULL, 'stolen');
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN true;
END$$;
CREATE POLICY trap ON person USING (trap());
ALTER TABLE person ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TABLE visitor (mail text PRIMARY KEY, n int);
CREATE FUNCTION spring(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.trap()::int; END';
CREATE INDEX ON visitor ((n + spring(1)));
"""


@pytest.fixture
def members(roles: dict[str, dict[str, Any]], settings: Any) -> Iterator[dict[str, dict[str, Any]]]:
    """The roles, and ``bemi_keeper``, a member of the log's owner who may also read the tables."""
    settings.BEMI_APPEND_ONLY = True
    make(FIRST)
    write(1)
    write(2, table="shop_category")
    script = io.StringIO()
    call_command("bemi", "grants", "--owner", "bemi_log", stdout=script)
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(script.getvalue())
        cursor.execute("CREATE ROLE bemi_keeper LOGIN PASSWORD 'secret' IN ROLE bemi_log, app")
    try:
        yield {**roles, "bemi_keeper": {**roles["app"], "user": "bemi_keeper"}}
    finally:
        connection.close()
        with superuser("roles") as opened, opened.cursor() as cursor:
            cursor.execute("REASSIGN OWNED BY bemi_log, bemi_keeper TO app")
            cursor.execute("DROP OWNED BY bemi_log, bemi_keeper; DROP ROLE bemi_log, bemi_keeper")


def refuses(parameters: dict[str, Any], statement: str) -> bool:
    """Return whether the trigger refuses, and not only the rights."""
    with closing(psycopg2.connect(**parameters)) as opened, opened.cursor() as cursor:
        try:
            cursor.execute(statement)
        except psycopg2.errors.InsufficientPrivilege as error:
            return "The log is append-only" in str(error)
        return False


def test_no_role_changes_or_removes_rows_of_the_log(members: dict[str, dict[str, Any]]) -> None:
    for role in ("app", "bemi_worker", "bemi_reader", "bemi_handlers"):
        for statement in (*OF_ROWS, *OF_THE_OWNER):
            assert not may(members[role], statement), (role, statement)
    administrator = {"dsn": os.environ["DATABASE_URL"], "dbname": "roles"}
    for statement in OF_ROWS[:-1]:
        assert refuses(members["bemi_keeper"], statement), statement
    for statement in OF_ROWS:
        assert refuses(administrator, statement), statement
    assert Change.objects.filter(database="shop").count() == 2


def test_commands_do_their_work_for_a_member_of_the_owner(
    members: dict[str, dict[str, Any]], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    worker = members["bemi_worker"]
    config = WorkerConfig(worker, worker, SLOT, conf.publication())
    Supervisor(config).run(until_current=True)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_category (id, name) VALUES (42, 'Ann'); DELETE FROM shop_category")
        cursor.execute(TRAP)
        assert tracking.sync().failed == []
        cursor.execute("INSERT INTO person VALUES ('ann@example.org')")
        cursor.execute("INSERT INTO visitor VALUES ('ann@example.org')")
    Supervisor(config).run(until_current=True)
    settings.BEMI_RETENTION = {"shop.Category": "30 days"}
    with django_as(members["bemi_keeper"]):
        bemi("erase", "shop.Category:42", "--reason", "r", "--noinput")
        # What owners of tables have written is not run with the rights of the log's owner.
        with pytest.raises(CommandError, match="row-level security .*: run this as a role that may read all"):
            bemi("erase", "person:ann@example.org", "--reason", "r", "--noinput")
        with pytest.raises(CommandError, match="visitor is still there, .* may run code of app"):
            bemi("erase", "visitor:ann@example.org", "--reason", "r", "--noinput")
        assert "1 change" in bemi("prune")
        settings.BEMI_RETENTION = {"default": "30 days"}
        assert FIRST in bemi("prune")
        assert bemi("retry-dead-letters").strip() == "0 repaired, 0 kept"
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE old_log (LIKE changes INCLUDING ALL)")
            cursor.execute("INSERT INTO old_log SELECT * FROM changes WHERE operation = 'CREATE'")
        assert "old_log" in bemi("convert", "public.old_log", "--drop")
        with connection.cursor() as cursor:
            cursor.execute("SELECT purpose FROM _bemi.permits")
            assert cursor.fetchall() == []
    found = Change.objects.filter(table="shop_category", primary_key="42")
    assert {change.operation: change.after for change in found} == {
        "CREATE": {"id": 42, "name": None},
        "DELETE": {},
        "ERASED": {},
    }
    with closing(psycopg2.connect(**worker)) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT _bemi.partition_v1('2031-01-01'), _bemi.mark_diverged_v1(0, 0, 1)")
        opened.commit()
    assert refuses(members["bemi_keeper"], "DELETE FROM changes_2031_01")


def test_nothing_that_a_role_tries_changes_the_log_or_what_guards_it(
    members: dict[str, dict[str, Any]],
) -> None:
    with superuser("roles") as opened, opened.cursor() as cursor:
        known = log_attacks.state(cursor, "changes", MONTH)
        # The application comes last: it may drop all that it has, with the tables of the tests.
        for role in ("bemi_reader", "bemi_handlers", "bemi_worker", "app"):
            assert log_attacks.attack(members[role], "changes", MONTH) > 120
            found = log_attacks.state(cursor, "changes", MONTH)
            assert not found.keys() - known.keys(), role
            gone = {key: what for key, what in known.items() if found.get(key) != what and key[0] != "right"}
            assert gone == {}, role


def bemi(*arguments: str) -> str:
    output = io.StringIO()
    call_command("bemi", *arguments, stdout=output)
    return output.getvalue()


def test_the_application_leaves_the_trigger_to_the_owner(
    members: dict[str, dict[str, Any]], settings: Any
) -> None:
    settings.BEMI_APPEND_ONLY = False
    assert tracking.sync().failed == []
    assert refuses(members["bemi_keeper"], OF_ROWS[0])
    settings.BEMI_APPEND_ONLY = True
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER _bemi_append_only ON {MONTH}")
    (line,) = tracking.sync().failed
    assert line.startswith("BEMI_APPEND_ONLY: permission denied")
    grant()
    assert tracking.sync().failed == []


def install(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_later_migrations_take_the_role_of_the_owner(members: dict[str, dict[str, Any]]) -> None:
    later = sql.install("django", "schema_v1", "erasure_v1", log=conf.table())
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(sql.read("erasure_v1_down"))
        cursor.execute("DELETE FROM _bemi.parts WHERE name = 'erasure_v1'")
    with pytest.raises(DatabaseError, match=r"not to app\. .*GRANT bemi_log TO app"):
        install(later)
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute("GRANT bemi_log TO app")
    install(later)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = '_bemi.erasures'::regclass "
            "UNION SELECT pg_get_userbyid(proowner)::text FROM pg_proc WHERE proname = 'erased_change_v1'"
        )
        assert cursor.fetchall() == [("bemi_log",)]
        cursor.execute("SELECT current_user::text")
        assert cursor.fetchone() == ("app",)
