"""The schema `_bemi`: it holds everything but the log, and belongs to the role that installs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django.schema import tracking
from tests.support.roles import administrator

# It makes roles of its own.
pytestmark = pytest.mark.administrator

# Where our objects are, the log's own relations aside.
ELSEWHERE = """
SELECT 'function', p.oid::regprocedure::text FROM pg_proc p
WHERE p.proname ~ '_v\\d+$' AND p.pronamespace NOT IN ('_bemi'::regnamespace, 'pg_catalog'::regnamespace)
UNION ALL
SELECT 'table', c.oid::regclass::text FROM pg_class c
WHERE c.relname ~ '^_?bemi_' AND c.relnamespace <> '_bemi'::regnamespace
"""
OPEN_TO_PUBLIC = """
SELECT n.nspname FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = '_bemi' AND a.grantee = 0
UNION ALL
SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = '_bemi'::regnamespace AND a.grantee = 0
UNION ALL
SELECT p.proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = '_bemi'::regnamespace AND p.prosecdef AND a.grantee = 0
"""
OURS = "SELECT count(*) FROM pg_class WHERE relname = 'changes'"


def query(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.mark.django_db
def test_everything_but_the_log_is_in_a_schema_that_is_closed_to_public() -> None:
    assert query(ELSEWHERE) == []
    assert query(OPEN_TO_PUBLIC) == []
    assert query("SELECT _bemi.log_v1()::text") == [("changes",)]


@pytest.fixture
def installer(transactional_db: None) -> Iterator[str]:
    """A new database in which Django is a role that owns nothing but its schema."""
    with administrator() as cursor:
        cursor.execute("CREATE ROLE \"in'staller\" LOGIN PASSWORD 'secret'; CREATE ROLE mallory")
        cursor.execute("CREATE DATABASE fresh")
    with administrator("fresh") as cursor:
        cursor.execute('GRANT ALL ON SCHEMA public TO "in\'staller"')
    original = connection.settings_dict
    connection.close()
    connection.settings_dict = {**original, "USER": "in'staller", "PASSWORD": "secret", "NAME": "fresh"}
    yield '"in\'staller"'
    connection.close()
    connection.settings_dict = original
    with administrator() as cursor:
        cursor.execute("DROP DATABASE fresh WITH (FORCE)")
        cursor.execute('DROP ROLE "in\'staller"; DROP ROLE mallory')


def migrate(*target: str) -> None:
    call_command("migrate", *target, verbosity=0, skip_checks=True)


def test_a_role_that_may_not_create_a_schema_is_told_what_to_run(installer: str) -> None:
    statement = f"CREATE SCHEMA _bemi AUTHORIZATION {installer}"
    with pytest.raises(CommandError) as refused:
        migrate("bemi_django")
    assert statement in str(refused.value) and "\n" not in str(refused.value)
    assert query(OURS) == [(0,)]
    with administrator("fresh") as cursor:
        cursor.execute(statement)
    migrate("bemi_django")
    assert query(OURS) == [(1,)]
    migrate("bemi_django", "zero")
    assert query("SELECT nspname FROM pg_namespace WHERE nspname ~ '^_bemi'") == []


def test_a_schema_of_another_owner_is_refused(installer: str) -> None:
    with administrator("fresh") as cursor:
        cursor.execute(f"GRANT CREATE ON DATABASE fresh TO {installer}, mallory")
        cursor.execute("CREATE SCHEMA _bemi AUTHORIZATION mallory")
    with pytest.raises(CommandError, match="_bemi belongs to the role mallory, not to"):
        migrate("bemi_django")
    assert query(OURS) == [(0,)]


def test_a_superuser_refuses_it_as_well(installer: str) -> None:
    with administrator("fresh") as cursor:
        cursor.execute("CREATE SCHEMA _bemi AUTHORIZATION mallory; SET ROLE mallory")
        cursor.execute("CREATE TABLE _bemi.parts (name text, installers text[])")
        cursor.execute('RESET ROLE; ALTER ROLE "in\'staller" SUPERUSER')
    with pytest.raises(CommandError, match="_bemi belongs to the role mallory, not to"):
        migrate("bemi_django")
    assert query(OURS) == [(0,)]


def test_a_project_that_has_a_table_of_this_name_is_told_so(installer: str) -> None:
    with administrator("fresh") as cursor:
        cursor.execute(f"GRANT CREATE ON DATABASE fresh TO {installer}")
    query("CREATE TABLE changes (id int)")
    with pytest.raises(CommandError, match="public.changes is taken"):
        migrate("bemi_django")
    assert query("SELECT nspname FROM pg_namespace WHERE nspname = '_bemi'") == []


class KeepAway:
    """A router that wants nothing of the app on any alias."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "bemi_django" else None


def test_where_a_router_keeps_the_app_away_nothing_is_installed(installer: str, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [KeepAway()]
    migrate("bemi_django")
    assert query("SELECT nspname FROM pg_namespace WHERE nspname ~ '^_bemi'") == []
    assert query(OURS) == [(0,)]


def test_a_schema_for_the_past_of_another_owner_is_refused(installer: str) -> None:
    with administrator("fresh") as cursor:
        cursor.execute(f"GRANT CREATE ON DATABASE fresh TO {installer}, mallory")
        cursor.execute("CREATE SCHEMA _bemi_past_public AUTHORIZATION mallory")
        cursor.execute("GRANT ALL ON SCHEMA _bemi_past_public TO PUBLIC")
    migrate("bemi_django")
    query("CREATE TABLE tool (id int PRIMARY KEY)")
    (line,) = tracking.sync().failed
    assert "_bemi_past_public belongs to the role mallory" in line
    assert query("SELECT count(*) FROM pg_class WHERE relnamespace = '_bemi_past_public'::regnamespace") == [
        (0,)
    ]


@pytest.mark.django_db(transaction=True)
def test_a_schema_of_the_log_that_everybody_may_write_to_is_reported() -> None:
    def found() -> list[str]:
        return [str(message.id) for message in run_checks(databases=["default"]) if message.id == "bemi.W009"]

    with administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        assert found() == []
        cursor.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        try:
            assert found() == ["bemi.W009"]
        finally:
            cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


@pytest.mark.django_db
def test_models_in_the_schema_need_no_migration() -> None:
    call_command("makemigrations", "bemi_django", check=True, dry_run=True, stdout=io.StringIO())
