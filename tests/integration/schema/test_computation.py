"""Generated columns and casts to json are code of table owners: it has no rights, and never runs for long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connection

from bemi_django.ingest.rows.calculator import Calculator
from bemi_django.schema import tracking
from tests.support.pipeline import Drain
from tests.support.roles import administrator

# It makes casts, and gives functions to other roles.
pytestmark = pytest.mark.administrator

TABLE = """
CREATE TABLE caught (what text);
GRANT ALL ON caught TO PUBLIC;
CREATE TABLE vault (secret text);
INSERT INTO vault VALUES ('row-value');
CREATE FUNCTION attack(n int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $function$
DECLARE
    found text := 'harmless';
BEGIN
    -- The writer of the row, who calls it as well, is not the victim.
    IF current_setting('attack.is_off', true) = 'yes' THEN
        RETURN found;
    END IF;
    {}
    RETURN found;
END
$function$;
CREATE TYPE kind AS ENUM ('a');
CREATE FUNCTION as_json(kind kind) RETURNS json IMMUTABLE LANGUAGE sql AS
    $$SELECT to_json(attack(1)) WHERE kind IS NOT NULL$$;
CREATE CAST (kind AS json) WITH FUNCTION as_json(kind);
CREATE TABLE bait (id int PRIMARY KEY, kind kind);
"""
CLEAN = """
DROP TABLE IF EXISTS bait, caught, vault; DROP TYPE IF EXISTS kind CASCADE;
DROP FUNCTION IF EXISTS attack(int);
"""
LOOP = "LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;"
#: What the code tries, none of which may succeed.
ATTACKS = {
    "write": "INSERT INTO caught VALUES ('write');",
    "read": "SELECT secret FROM vault INTO found;",
    "become the worker": "RESET ROLE; INSERT INTO caught VALUES ('reset');",
    "become another": "EXECUTE 'SET ROLE ' || quote_ident(session_user); INSERT INTO caught VALUES ('role');",
    "become a session": "EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; INSERT INTO caught VALUES ('session');",
    "write after all": "SET transaction_read_only = off; INSERT INTO caught VALUES ('read only');",
    "commit": "COMMIT; INSERT INTO caught VALUES ('commit');",
    "temporary table": "CREATE TEMP TABLE pg_class (oid oid); found := 'made';",
    "program": "COPY (SELECT 1) TO PROGRAM 'true'; found := 'ran';",
    "end another": "PERFORM pg_terminate_backend(pid) FROM pg_stat_activity; found := 'ended';",
    "loop": LOOP,
    "loop without a pause": "LOOP BEGIN LOOP found := ''; END LOOP; EXCEPTION WHEN query_canceled THEN NULL; "
    "END; END LOOP;",
    "much": "found := repeat('x', 500000000);",
    "no right": "RAISE SQLSTATE '42501';",
    "a full disk": "RAISE SQLSTATE '53100';",
    "a shutdown": "RAISE SQLSTATE '57P01';",
    "a lost connection": "RAISE SQLSTATE '08006';",
    "a missing table": "SELECT a FROM nowhere INTO found;",
}


def execute(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calculator.__init__, "__defaults__", (0.4,))


@pytest.fixture
def bait(drain: Drain) -> Iterator[Drain]:
    yield drain
    execute(CLEAN)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_code_of_a_table_owner_can_neither_do_nor_stop_anything(
    attack: str, quick: None, bait: Drain
) -> None:
    execute(TABLE.replace("{}", ATTACKS[attack]))
    tracking.sync()
    execute("SET attack.is_off = 'yes'; INSERT INTO bait VALUES (1, 'a'); INSERT INTO vault VALUES ('x')")
    found = {change.table: change for change in bait() if change.table in ("bait", "vault")}
    assert execute("SELECT * FROM caught") == []
    assert found["vault"].after == {"secret": "x"}
    assert "row-value" not in str(found["bait"].after)
    assert found["bait"].after["id"] == 1
    assert found["bait"].after.get("kind") in (None, "harmless")


def test_what_the_code_leaves_behind_does_not_reach_the_next_row(bait: Drain) -> None:
    code = "found := current_setting('search_path'); PERFORM set_config('search_path', 'elsewhere', false);"
    execute(TABLE.replace("{}", code))
    tracking.sync()
    execute("SET attack.is_off = 'yes'; INSERT INTO bait VALUES (1, 'a'); INSERT INTO bait VALUES (2, 'a')")
    kinds = {change.after["kind"] for change in bait() if change.table == "bait"}
    assert kinds == {'"$user", public'}


def test_without_the_role_values_are_unavailable_and_a_check_says_why(bait: Drain) -> None:
    execute(TABLE.replace("{}", ""))
    tracking.sync()
    with administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute(
            "SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = '_bemi'"
        )
        (owner,) = cursor.fetchone()
        cursor.execute(f"ALTER FUNCTION _bemi.compute_v1(text, text[]) OWNER TO {owner}")
        try:
            assert "bemi.W010" in {str(message.id) for message in run_checks(databases=["default"])}
            execute("INSERT INTO bait VALUES (1, 'a')")
            (change,) = (change for change in bait() if change.table == "bait")
            assert change.after == {"id": 1} and change.unavailable == {"after": ["kind"]}
        finally:
            cursor.execute("ALTER FUNCTION _bemi.compute_v1(text, text[]) OWNER TO _bemi_compute")
    assert "bemi.W010" not in {str(message.id) for message in run_checks(databases=["default"])}
