"""Databases that are not UTF-8: no write fails because of us, and every context is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django import bound_context, conf
from bemi_django.exceptions import HistoryError
from bemi_django.ingest.stitching.provenance import Provenance
from bemi_django.models import Change, DeadLetter
from bemi_django.schema import tracking
from bemi_django.time_travel import block
from tests.support import roles
from tests.support.pipeline import Pipeline
from tests.support.project_database import another_session, execute

# Databases are made by a superuser.
pytestmark = pytest.mark.administrator


@pytest.fixture(params=["SQL_ASCII", "LATIN1", "WIN1252", "EUC_JP"])
def encoded(request: Any, transactional_db: None) -> Iterator[Pipeline]:
    """A project whose only database, that of the log, has another encoding."""
    execute(f"CREATE DATABASE encoded ENCODING '{request.param}' LOCALE 'C' TEMPLATE template0")
    original = connection.settings_dict
    connection.close()
    connection.settings_dict = {**original, "NAME": "encoded"}
    try:
        call_command("migrate", verbosity=0)
        tracking.sync()
        execute("CREATE TABLE word (id serial PRIMARY KEY, task text)")
        pipeline = Pipeline.of_project("bemi_encoded")
        pipeline.run()
        yield pipeline
        pipeline.drop()
    finally:
        connection.close()
        connection.settings_dict = original
        roles.drop_database("encoded")


def test_a_context_is_recorded_whatever_the_database_can_hold(encoded: Pipeline) -> None:
    with bound_context(who="é ż 😀", where="\\u017c"):
        execute("INSERT INTO word (task) VALUES ('x')")
    encoded.run()
    change = Change.objects.get(schema="public", table="word")
    ((encoding,),) = execute("SHOW server_encoding")
    latin = "é \\u017c \\ud83d\\ude00"
    who = {"SQL_ASCII": "é ż 😀", "LATIN1": latin, "WIN1252": latin, "EUC_JP": "é ż \\ud83d\\ude00"}
    assert change.context["where"] == "\\u017c"
    assert change.context["who"] == who[encoding]
    assert not DeadLetter.objects.exists()


def test_a_write_of_any_bytes_succeeds_and_is_recorded(encoded: Pipeline) -> None:
    parameters, expected = conf.connection_parameters("default"), 0
    with closing(psycopg2.connect(**parameters)) as opened, opened.cursor() as cursor:
        opened.autocommit = True
        cursor.execute("SHOW server_encoding")
        (encoding,) = cursor.fetchone()
        cursor.execute("SELECT set_config('client_encoding', %s, false)", [encoding])
        for byte in b"\xe9\x81\x8f\xff":
            # The server cannot send bytes that are no characters of WIN1252, though it stores them.
            is_sent = encoding != "WIN1252" or byte not in b"\x81\x8f"
            try:
                cursor.execute("BEGIN")
                cursor.execute(b"INSERT INTO word (task) VALUES ('caf%c')" % byte)
                cursor.execute("COMMIT" if is_sent else "ROLLBACK")
                expected += is_sent
            except psycopg2.DataError:
                # No character of the database's own encoding: the server refuses the statement by itself.
                assert encoding == "EUC_JP"
                cursor.execute("ROLLBACK")
    encoded.run()
    changes = Change.objects.filter(table="word")
    assert changes.count() == expected
    assert all("caf" in change.context["SQL"] and "db_user" in change.context for change in changes)
    if encoding == "SQL_ASCII":
        with closing(psycopg2.connect(**parameters)) as opened, opened, opened.cursor() as cursor:
            cursor.execute("SET client_encoding = 'SQL_ASCII'")
            cursor.execute(b'CREATE TABLE "caf\xe9" (id int); CREATE TABLE word_2 ("\xff" text)')
        named = r": column public\.word_2\.\\xff"
        for command in ("sync", "status"):
            with pytest.raises(CommandError, match=rf"{named}, table public\.caf\\xe9$"):
                call_command("bemi", command)
        named_by_as_of = pytest.raises(HistoryError, match=rf"{named}, table public\.caf\\xe9$")
        with named_by_as_of, block._naming_what_is_no_text("default"):
            execute("SELECT relname FROM pg_class WHERE relname ~ '^caf'")
        with closing(psycopg2.connect(**parameters)) as opened, opened, opened.cursor() as cursor:
            cursor.execute("SET client_encoding = 'SQL_ASCII'")
            cursor.execute(b'DROP TABLE "caf\xe9"')
        with pytest.raises(CommandError, match=rf"as_of\(\): .*\n.*{named}$"):
            call_command("bemi", "sync")


def test_a_role_with_any_name_may_write_and_send_any_context(encoded: Pipeline) -> None:
    with another_session() as cursor:
        cursor.connection.autocommit = True
        cursor.execute("SHOW server_encoding")
        (encoding,) = cursor.fetchone()
        cursor.execute("SELECT set_config('client_encoding', %s, false)", [encoding])
        # In SQL_ASCII it is of no encoding.
        role = "caf\u00e9".encode("euc_jp" if encoding == "EUC_JP" else "latin-1")
        cursor.execute(b'CREATE ROLE "%b" SUPERUSER' % role)
        try:
            cursor.execute(b'SET SESSION AUTHORIZATION "%b"' % role)
            # Hooks of ours send ASCII only. Those of others need not.
            cursor.execute("BEGIN")
            for number in (1, 2):
                comment = b'/*Bemi {"n": %d, "who": "%b"} Bemi*/' % (number, role)
                cursor.execute(comment + b" INSERT INTO word (task) VALUES ('x')")
            cursor.execute("COMMIT")
            cursor.execute(b"INSERT INTO word (task) VALUES ('y')")
        finally:
            cursor.execute("RESET SESSION AUTHORIZATION")
            cursor.execute(b'DROP ROLE "%b"' % role)
    encoded.config = encoded.config._replace(provenance=Provenance(True))
    encoded.run()
    *sent, plain = (change.context for change in Change.objects.filter(table="word").order_by("id"))
    assert [(context.get("n"), context.get("who")) for context in sent] == [
        (1, "caf\u00e9"),
        (2, "caf\u00e9"),
    ]
    assert plain["db_user"] == "caf\u00e9"
    known = "caf\ufffd" if encoding == "SQL_ASCII" else "caf\u00e9"
    for context in (*sent, plain):
        assert context["connection"]["role"] == known
        assert context["connection"]["pid"]
    assert not DeadLetter.objects.exists()
