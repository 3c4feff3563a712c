# ruff: noqa: S608 - the SQL of tests
"""The database says who was connected when a transaction wrote, whatever the application says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction

from bemi_django import bound_context, conf, skip_tracking
from bemi_django.ingest.stitching.provenance import Provenance
from bemi_django.masking.settings import rules_of
from tests.support import roles
from tests.support.pipeline import Pipeline
from tests.support.project_database import another_session, execute

PROGRAM = "a 'program' \\ \" é"
#: Before PostgreSQL 16, what is not ASCII in the name of a program becomes question marks.
SHOWN = ("a 'program' \\ \" ??", "a 'program' \\ \" \\xc3\\xa9")


@pytest.fixture(scope="module")
def laboratory(laboratory: Pipeline) -> Pipeline:
    laboratory.stop()
    laboratory.config = laboratory.config._replace(provenance=Provenance(True))
    return laboratory


@pytest.fixture
def lab(pipeline: Pipeline) -> Pipeline:
    execute("CREATE TABLE lab.a (id int PRIMARY KEY, n int); CREATE TABLE lab.b (id int)")
    pipeline.drain()
    return pipeline


@pytest.fixture
def session(lab: Pipeline) -> Iterator[Any]:
    """A cursor of a connection that no hook has seen, in autocommit."""
    parameters = {**conf.connection_parameters("default"), "application_name": PROGRAM}
    with closing(psycopg2.connect(**parameters)) as opened, opened.cursor() as cursor:
        opened.autocommit = True
        yield cursor


def known(cursor: Any) -> dict[str, Any]:
    """Return what the database knows of a connection now."""
    cursor.execute("""SELECT session_user, current_user, current_setting('application_name'),
                             host(inet_client_addr()), pg_backend_pid()""")
    role, current, program, address, pid = cursor.fetchone()
    found = {"role": role, "application_name": program, "pid": pid}
    found |= {"current_role": current} if current != role else {}
    return found | ({"address": address} if address else {})


def connections_of(lab: Pipeline) -> list[Any]:
    lab.drain()
    return [context.get("connection") for context in lab.contexts]


def test_every_way_to_write_says_it(lab: Pipeline, session: Any) -> None:
    with bound_context(user_id=7):
        execute("INSERT INTO lab.a VALUES (1, 1), (2, 2)")
    with connection.cursor() as cursor:
        of_django = known(cursor)
    of_session = known(session)
    session.execute("UPDATE lab.a SET n = 3 WHERE id = 1")
    session.copy_expert("COPY lab.b FROM STDIN", io.StringIO("5\n6\n"))
    session.execute("BEGIN; SET LOCAL bemi.context = '{\"ticket\": 7}'")
    session.execute("DELETE FROM lab.a; COMMIT")
    session.execute("TRUNCATE lab.b")
    assert connections_of(lab) == [of_django] * 2 + [of_session] * 6
    assert of_session["application_name"] in SHOWN and of_session["pid"] != of_django["pid"]
    assert [context.get("user_id") for context in lab.contexts[:2]] == [7, 7]
    assert lab.contexts[5]["ticket"] == 7


def test_it_is_sent_once_in_a_transaction_and_again_after_a_rollback_of_the_first_write(
    lab: Pipeline, session: Any
) -> None:
    of_session = known(session)
    session.execute("BEGIN; SAVEPOINT x; INSERT INTO lab.a VALUES (1, 1); ROLLBACK TO x")
    session.execute("INSERT INTO lab.b VALUES (1)")
    session.execute("SAVEPOINT y; INSERT INTO lab.b VALUES (2); RELEASE y")
    session.execute("DO $$BEGIN INSERT INTO lab.a VALUES (1, 1 / 0); EXCEPTION WHEN OTHERS THEN END$$")
    session.execute("INSERT INTO lab.b VALUES (3)")
    session.execute("COMMIT")
    assert connections_of(lab) == [of_session] * 3


@pytest.mark.administrator
def test_it_takes_no_more_than_sixty_bytes_and_none_for_later_statements(lab: Pipeline) -> None:
    with another_session(application_name="gunicorn") as cursor:
        cursor.connection.autocommit = True
        cursor.execute("SELECT pg_create_logical_replication_slot('bemi_size', 'pgoutput', true)")
        for statement in ("BEGIN", "INSERT INTO lab.b VALUES (1)", "UPDATE lab.b SET id = 2", "COMMIT"):
            cursor.execute(statement)
        cursor.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes('bemi_size', NULL, NULL, "
            "'proto_version', '1', 'publication_names', %s, 'messages', 'true')",
            [conf.publication()],
        )
        first, second = (bytes(data) for (data,) in cursor.fetchall() if bytes(data)[:1] == b"M")
        cursor.execute("SELECT 'lab.b'::regclass::oid::int")
        (oid,) = cursor.fetchone()
    content = first[10 + len(b"_bemi\0") + 4 :]
    assert 0 < content.index(b"%d{" % oid) <= 60
    assert b"gunicorn'" not in second


def test_it_says_which_role_wrote_beside_the_one_that_has_logged_in(lab: Pipeline, session: Any) -> None:
    lab.source.administer('CREATE ROLE "bemi_o\'neil \\ é"')
    try:
        lab.source.administer("GRANT USAGE ON SCHEMA lab TO PUBLIC; GRANT ALL ON lab.b TO PUBLIC")
        session.execute("SELECT session_user")
        (me,) = session.fetchone()
        lab.source.administer(f'GRANT "bemi_o\'neil \\ é" TO {me}')
        session.execute('SET ROLE "bemi_o\'neil \\ é"')
        of_role = known(session)
        session.execute("INSERT INTO lab.b VALUES (1)")
        session.execute("RESET ROLE")
        assert connections_of(lab) == [of_role]
        assert of_role["current_role"] == "bemi_o'neil \\ é" and of_role["role"] == me
        session.execute(
            "CREATE FUNCTION lab.f() RETURNS void LANGUAGE sql SECURITY DEFINER AS "
            "'INSERT INTO lab.b VALUES (2)'; GRANT ALL ON FUNCTION lab.f() TO PUBLIC"
        )
        session.execute('SET ROLE "bemi_o\'neil \\ é"')
        session.execute("SELECT lab.f()")
        session.execute("RESET ROLE")
        (found,) = connections_of(lab)
        # The function runs as its owner, who is the one that has logged in.
        assert found["role"] == me and "current_role" not in found
    finally:
        lab.source.administer('DROP OWNED BY "bemi_o\'neil \\ é"; DROP ROLE "bemi_o\'neil \\ é"')


def test_no_context_can_say_it(lab: Pipeline, session: Any) -> None:
    forged = '{"connection": {"role": "root"}, "n": 1}'
    with bound_context(connection={"role": "root"}):
        execute("INSERT INTO lab.b VALUES (1)")
    session.execute(f"BEGIN; SET LOCAL bemi.context = '{forged}'; INSERT INTO lab.b VALUES (2); COMMIT")
    session.execute(f"/*Bemi {forged} Bemi*/ INSERT INTO lab.b VALUES (3)")
    session.execute(
        f"BEGIN; INSERT INTO lab.b VALUES (4); SELECT pg_logical_emit_message(true, '_bemi', '{forged}'); "
        "INSERT INTO lab.b VALUES (4); COMMIT"
    )
    of_session = known(session)
    found = connections_of(lab)
    assert found[1:] == [of_session] * 4 and found[0]["role"] != "root"
    assert [context.get("app_connection") for context in lab.contexts] == [
        {"role": "root"}, {"role": "root"}, {"role": "root"}, None, {"role": "root"},
    ]  # fmt: skip


def test_forged_names_that_jsonb_cannot_have_take_no_context_away(lab: Pipeline, session: Any) -> None:
    forged = b"'root\0' 'root'1  ''%d{}"
    session.execute("SELECT 'lab.b'::regclass::oid::int")
    (oid,) = session.fetchone()
    session.execute(
        "BEGIN; INSERT INTO lab.b VALUES (1); SELECT pg_logical_emit_message(true, '_bemi', %s); "
        "INSERT INTO lab.b VALUES (2); COMMIT",
        [psycopg2.Binary(forged % oid)],
    )
    of_session = known(session)
    assert [change.after for change in lab.drain()] == ['{"id": 1}', '{"id": 2}']
    assert [context["connection"] for context in lab.contexts] == [of_session] * 2


def test_rows_that_are_only_counted_have_it(lab: Pipeline) -> None:
    with skip_tracking(reason="rebuild"), transaction.atomic():
        execute("INSERT INTO lab.b VALUES (1)")
        with connection.cursor() as cursor:
            of_django = known(cursor)
    (change,) = lab.drain()
    (context,) = lab.contexts
    assert change.operation == "SKIPPED" and context["connection"] == of_django


@pytest.mark.administrator
def test_replicas_and_deferred_writes_have_it(lab: Pipeline, session: Any) -> None:
    of_session = known(session)
    session.execute(
        "CREATE FUNCTION lab.g() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO lab.b VALUES (9); RETURN NULL; END'"
    )
    session.execute(
        "CREATE CONSTRAINT TRIGGER g AFTER INSERT ON lab.a DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION lab.g()"
    )
    session.execute("BEGIN; INSERT INTO lab.a VALUES (1, 1); COMMIT")
    session.execute("SET session_replication_role = replica")
    session.execute("INSERT INTO lab.b VALUES (1)")
    session.execute("RESET session_replication_role")
    assert connections_of(lab) == [of_session] * 3


def test_of_two_phases_the_one_that_wrote_is_recorded(lab: Pipeline, session: Any) -> None:
    of_session = known(session)
    session.execute("BEGIN")
    session.execute("INSERT INTO lab.b VALUES (1)")
    session.execute("PREPARE TRANSACTION 'bemi_two'")
    with connection.cursor() as cursor:
        cursor.execute("COMMIT PREPARED 'bemi_two'")
    assert connections_of(lab) == [of_session]


def test_rules_mask_it_and_the_setting_turns_it_off(lab: Pipeline, session: Any) -> None:
    kept = lab.config
    of_session = known(session)
    try:
        lab.stop()
        rules = rules_of(
            {"context->connection->address": "drop", "context->connection->role": "hash"}, "k" * 16
        )
        lab.config = kept._replace(masking=rules)
        session.execute("INSERT INTO lab.b VALUES (1)")
        (found,) = connections_of(lab)
        assert found["pid"] == of_session["pid"]
        assert found.get("address", "***") == "***" and found["role"] != of_session["role"]
        lab.stop()
        lab.config = kept._replace(provenance=Provenance(False))
        session.execute("INSERT INTO lab.b VALUES (2)")
        assert connections_of(lab) == [None]
    finally:
        lab.stop()
        lab.config = kept


def test_a_role_that_logs_in_is_the_one_recorded(lab: Pipeline) -> None:
    lab.source.administer("GRANT USAGE ON SCHEMA lab TO PUBLIC; GRANT ALL ON lab.b TO PUBLIC")
    lab.source.administer("CREATE ROLE bemi_psql LOGIN PASSWORD 'secret'")
    try:
        with another_session(user="bemi_psql", password=roles.PASSWORD) as cursor:
            of_session = known(cursor)
            cursor.execute("INSERT INTO lab.b VALUES (1)")
            cursor.connection.commit()
        assert of_session["role"] == "bemi_psql" and connections_of(lab) == [of_session]
    finally:
        lab.source.administer("DROP OWNED BY bemi_psql; DROP ROLE bemi_psql")
