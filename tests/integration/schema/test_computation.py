"""Generated columns and casts to json are code of table owners: it has no rights, and never runs for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.checks import run_checks
from django.db import connection

from bemi_django import conf
from bemi_django.ingest.rows.catalog import large_computation
from bemi_django.ingest.rows.catalog.calculator import Calculator
from bemi_django.ingest.rows.nested import window
from bemi_django.ingest.stream.connections import connect_calculator, connect_source
from bemi_django.schema import tracking
from tests.support.attacks import ATTACKS, CLEAN, CONNECTIONS, DEFERRED, DEFERRED_TEMPORARY, RESIDUES, TABLE
from tests.support.pipeline import Drain, worker_config
from tests.support.roles import administrator

# It makes casts, and gives functions to other roles.
pytestmark = pytest.mark.administrator


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


def assert_repelled(drain: Drain) -> None:
    execute("SET attack.is_off = 'yes'; INSERT INTO bait VALUES (1, 'a'); INSERT INTO vault VALUES ('x')")
    found = {change.table: change for change in drain() if change.table in ("bait", "vault")}
    assert execute("SELECT * FROM caught") == []
    assert execute("SELECT is_called FROM fired") == [(False,)]
    assert found["vault"].after == {"content": "x"}
    assert "row-value" not in str(found["bait"].after)
    assert found["bait"].after["id"] == 1
    assert found["bait"].after.get("kind") in (None, "harmless")
    execute("INSERT INTO vault VALUES ('y')")
    (later,) = drain()
    assert [change.context.get("user_id") for change in (*found.values(), later)] == [None, None, None]


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_code_of_a_table_owner_can_neither_do_nor_stop_anything(
    attack: str, quick: None, bait: Drain
) -> None:
    execute(TABLE.replace("{}", ATTACKS[attack]))
    tracking.sync()
    assert_repelled(bait)


@pytest.fixture
def connectable(bait: Drain) -> Iterator[str]:
    """The address of the database, in which there are extensions that connect to databases."""
    parameters = {"user": "", **conf.connection_parameters("default")}
    with administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_available_extensions WHERE name IN ('dblink', 'postgres_fdw')"
        )
        if cursor.fetchone() != (2,):
            pytest.skip("this server has no dblink or no postgres_fdw")
        cursor.execute("SELECT current_user, current_database()")
        user, dbname = cursor.fetchone()
        place = {key: str(parameters[key]) for key in ("host", "port") if parameters.get(key)}
        options = ", ".join(f"{key} '{value}'" for key, value in {**place, "dbname": dbname}.items())
        cursor.execute(f"""
            CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;
            CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({options});
            CREATE USER MAPPING FOR PUBLIC SERVER here OPTIONS (user '{user}');
            GRANT USAGE ON FOREIGN SERVER here TO PUBLIC;
            CREATE FOREIGN TABLE vault_of_here (content text) SERVER here OPTIONS (table_name 'vault');
            GRANT SELECT ON vault_of_here TO PUBLIC;
        """)
        try:
            yield " ".join(
                f"{key}={value}" for key, value in {**place, "dbname": dbname, "user": user}.items()
            )
        finally:
            cursor.execute("DROP EXTENSION postgres_fdw CASCADE; DROP EXTENSION dblink CASCADE")


@pytest.mark.parametrize("attack", CONNECTIONS)
def test_the_code_of_a_table_owner_connects_as_nobody(
    attack: str, quick: None, bait: Drain, connectable: str
) -> None:
    execute(TABLE.replace("{}", CONNECTIONS[attack].replace("{address}", connectable)))
    tracking.sync()
    assert_repelled(bait)


@pytest.fixture
def calculator(bait: Drain) -> Iterator[Calculator]:
    config = worker_config("bemi_test")
    with closing(connect_source(config)) as server:
        found = Calculator(lambda: connect_calculator(config), server)
        yield found
        found.close()


@pytest.mark.parametrize("residue", RESIDUES)
def test_the_code_leaves_nothing_behind_for_the_next_row(residue: str, calculator: Calculator) -> None:
    code, count = RESIDUES[residue]
    execute(TABLE.replace("{}", code))
    backend = calculator.compute("SELECT ARRAY[pg_backend_pid()::text]", [])
    assert calculator.compute("SELECT ARRAY[attack(1)]", []) == ["harmless"]
    assert calculator.compute(f"SELECT ARRAY[({count})::text]", []) == ["0"]
    assert calculator.compute("SELECT ARRAY[pg_backend_pid()::text]", []) == backend


@pytest.mark.parametrize("piece", [10, 1000])
def test_values_are_sent_and_computed_in_pieces(
    piece: int, calculator: Calculator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_computation, "PIECE", piece)
    monkeypatch.setattr(window, "PIECE", piece)
    large = "é'\"\\𝄞%s" * 20
    sent = [large.encode(), None, b"", memoryview(large.encode())]
    query = "SELECT ARRAY[$1[1] || $1[4], $1[2], $1[3], reverse($1[1]), cardinality($1)::text]"
    computed = calculator.compute_in_pieces(query, sent, 5)  # type: ignore[arg-type]
    assert computed == [(large * 2).encode(), None, b"", large[::-1].encode(), b"4"]
    with pytest.raises(ValueError, match="division by zero"):
        calculator.compute_in_pieces("SELECT ARRAY[(1 / length($1[1]))::text]", [b""], 1)
    with pytest.raises(ValueError):
        calculator.compute_in_pieces("SELECT $1", [b"\xff" * 2000], 1)
    assert calculator.compute("SELECT ARRAY[current_setting('_bemi.sent_1', true)]", []) in ([None], [""])


def test_the_code_notifies_nobody(calculator: Calculator, observer: Any) -> None:
    observer.execute("LISTEN attack")
    execute(TABLE.replace("{}", "PERFORM pg_notify('attack', 'code');"))
    assert calculator.compute("SELECT ARRAY[attack(1)]", []) == ["harmless"]
    observer.execute("NOTIFY attack, 'observer'")
    assert [notice.payload for notice in observer.connection.notifies] == ["observer"]


# Every wall holds alone: without READ ONLY the transaction still ends in ROLLBACK.
@pytest.mark.parametrize("begin", ["BEGIN READ ONLY;", "BEGIN;"])
@pytest.mark.parametrize("code", [DEFERRED, DEFERRED_TEMPORARY])
def test_deferred_triggers_never_run_with_the_rights_of_the_worker(
    begin: str, code: str, calculator: Calculator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bemi_django.ingest.rows.catalog.calculator._COMPUTE",
        f"{begin} SELECT _bemi.compute_v1(%s, %s::pg_catalog.text[])",
    )
    execute(TABLE.replace("{}", code))
    if begin == "BEGIN;":
        assert calculator.compute("SELECT ARRAY[attack(1)]", []) == ["harmless"]
    else:
        with pytest.raises(ValueError, match="read-only transaction"):
            calculator.compute("SELECT ARRAY[attack(1)]", [])
    assert calculator.compute("SELECT ARRAY['next']", []) == ["next"]
    assert execute("SELECT is_called FROM fired") == [(False,)]
    # What it is good for: a transaction that commits runs it.
    execute("INSERT INTO queue VALUES (1)")
    assert execute("SELECT is_called FROM fired") == [(True,)]


@pytest.mark.parametrize("kind", ["MESSAGE", "DETAIL", "HINT"])
@pytest.mark.parametrize("condition", ["P0001", "57014", "P0004"])
def test_no_error_of_the_code_is_long(kind: str, condition: str, calculator: Calculator) -> None:
    execute(TABLE.replace("{}", f"RAISE SQLSTATE '{condition}' USING {kind} = repeat('x', 1000000);"))
    with pytest.raises(ValueError, match=".") as caught:
        calculator.compute("SELECT ARRAY[attack(1)]", [])
    assert isinstance(caught.value.__cause__, psycopg2.Error)
    assert len(str(caught.value)) < 1000 and len(str(caught.value.__cause__)) < 2000


def test_no_notice_of_the_code_is_kept(calculator: Calculator) -> None:
    code = "PERFORM set_config('client_min_messages', 'notice', false); RAISE NOTICE 'here';"
    execute(TABLE.replace("{}", code))
    assert calculator.compute("SELECT ARRAY[attack(1)]", []) == ["harmless"]
    assert list(calculator._connection.notices) == []


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
