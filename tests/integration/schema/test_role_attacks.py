"""What roles with a single right can do, and that it is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from bemi_django.schema import coverage, tracking
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.project_database import ProjectDatabase, execute
from tests.support.strangers import stranger_session

# It makes a role of its own, and gives it rights.
pytestmark = pytest.mark.administrator

ROLE = "bemi_intruder"
CAPTURE = "CREATE OR REPLACE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON shop_category "
NEVER = """
CREATE SCHEMA intruder AUTHORIZATION bemi_intruder;
CREATE FUNCTION intruder.never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
GRANT EXECUTE ON FUNCTION intruder.never() TO PUBLIC;
GRANT USAGE ON SCHEMA intruder TO PUBLIC;
"""


@pytest.fixture
def intruder(drain: Drain) -> Iterator[Any]:
    """A cursor of a role that may only connect, and what has the rights of a superuser."""
    with stranger_session(ROLE) as cursor:
        yield cursor
    tracking.sync()


def needs_sync() -> bool:
    return any(
        table.needs_sync
        for table in coverage.read_coverage("default")
        if table.name == "public.shop_category"
    )


def refused(cursor: Any, statement: str) -> bool:
    try:
        cursor.execute(statement)
    except psycopg2.errors.InsufficientPrivilege:
        return True
    return False


def test_who_may_make_triggers_on_a_table_can_replace_ours_but_loses_no_change(
    drain: Drain, intruder: Any
) -> None:
    database = ProjectDatabase("default")
    for statement in (
        "ALTER TABLE shop_category DISABLE TRIGGER _bemi_capture",
        "DROP TRIGGER _bemi_capture ON shop_category",
        "CREATE RULE none AS ON INSERT TO shop_category DO INSTEAD NOTHING",
        "ALTER TABLE shop_category REPLICA IDENTITY NOTHING",
        f"{CAPTURE} FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1()",
    ):
        database.administer(f"GRANT TRIGGER, REFERENCES ON shop_category TO {ROLE}")
        assert refused(intruder, statement), statement
    database.administer(NEVER)
    assert not needs_sync()
    intruder.execute(f"{CAPTURE} FOR EACH STATEMENT EXECUTE FUNCTION intruder.never()")
    assert needs_sync()
    Category.objects.create(name="Books")
    (change,) = drain()
    assert change.after["name"] == "Books" and change.context == {}
    tracking.sync()
    assert not needs_sync()
    Category.objects.create(name="Games")
    (change,) = drain()
    assert change.context["SQL"].startswith("INSERT")


def test_who_may_only_connect_reaches_nothing_of_the_package(intruder: Any) -> None:
    # The views of the past are open: who may not read a table may not read its past.
    intruder.execute(
        "SELECT n.nspname FROM pg_namespace n WHERE has_schema_privilege(n.oid, 'CREATE') "
        "AND starts_with(n.nspname, '_bemi') OR n.nspname = '_bemi' AND has_schema_privilege(n.oid, 'USAGE')"
    )
    assert intruder.fetchall() == []
    for statement in (
        "SELECT * FROM changes",
        "UPDATE changes SET context = '{}'",
        "TRUNCATE changes",
        "ALTER EVENT TRIGGER _bemi_follow_ddl DISABLE",
        "ALTER PUBLICATION bemi DROP TABLE shop_category",
        "SELECT pg_drop_replication_slot('bemi_test')",
        "SELECT pg_replication_slot_advance('bemi_test', pg_current_wal_lsn())",
        "SELECT * FROM pg_logical_slot_get_binary_changes('bemi_test', NULL, NULL)",
        "SET session_replication_role = replica",
    ):
        assert refused(intruder, statement), statement


@pytest.mark.django_db
def test_functions_with_the_rights_of_their_owner_are_open_to_nobody_by_default() -> None:
    found = execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p CROSS JOIN LATERAL "
        "aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a "
        "WHERE p.pronamespace = '_bemi'::regnamespace AND p.prosecdef AND a.grantee = 0"
    )
    assert found == []
