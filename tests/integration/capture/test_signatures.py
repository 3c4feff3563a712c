# ruff: noqa: S608 - the SQL of tests
"""A worker with the keys of the application tells what the application wrote from what others say it did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings

from bemi_django import apply_context, bound_context, conf, record, skip_tracking
from bemi_django.capture.hooks.django_db import seeing_comments
from bemi_django.checks.signing import check_keys
from bemi_django.ingest.stitching.provenance import Provenance
from bemi_django.ingest.stitching.signatures import Signatures
from bemi_django.masking.settings import rules_of
from bemi_django.models import Change
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

KEY, OLD = "k" * 32, "o" * 32


@pytest.fixture(scope="module")
def laboratory(laboratory: Pipeline) -> Pipeline:
    laboratory.stop()
    keys = (KEY.encode(), OLD.encode())
    laboratory.config = laboratory.config._replace(provenance=Provenance(True, Signatures(keys)))
    return laboratory


@pytest.fixture
def lab(pipeline: Pipeline) -> Iterator[Pipeline]:
    execute("CREATE TABLE lab.a (id int PRIMARY KEY, n text); CREATE TABLE lab.b (id int)")
    pipeline.drain()
    with override_settings(BEMI_CONTEXT_KEYS=[KEY]):
        yield pipeline


@pytest.fixture
def session(lab: Pipeline) -> Iterator[Any]:
    """A cursor of a role that may write the tables, in autocommit, without any hook."""
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            yield cursor


def marks(lab: Pipeline) -> list[Any]:
    """Return the marks of the contexts of new changes, none of which has a signature."""
    lab.drain()
    assert all("_bemi_signature" not in context for context in lab.contexts)
    return [context.get("unverified") for context in lab.contexts]


def seen(work: Callable[[], object]) -> str:
    """Return the comment that the server sees before the statement of some work."""
    found: list[str] = []

    @seeing_comments
    def spy(execute: Any, sql: str, *arguments: Any) -> Any:
        found.append(sql)
        return execute(sql, *arguments)

    with connection.execute_wrapper(spy):
        work()
    return found[0].partition(" Bemi*/")[0] + " Bemi*/ "


def test_what_the_application_writes_is_verified(lab: Pipeline) -> None:
    hostile = 'a "b" 50% \\ \\u0022 é\0\ud800 */ :x $1'
    with bound_context(user_id=7, text=hostile, values={"connection": 1, "x": [hostile, {"y": 1, "SQL": 2}]}):
        execute("INSERT INTO lab.a VALUES (1, 'x'), (2, 'y')")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE lab.a SET n = %s WHERE id = %s", ['50% "\\', 1])
            cursor.execute("UPDATE lab.a SET n = 'z'")
            cursor.executemany("INSERT INTO lab.b VALUES (%s)", [(1,), (2,)])
            with transaction.atomic():
                apply_context()
                cursor.cursor.execute("UPDATE lab.a SET n = '\"q\" \\ %%'")
                cursor.cursor.execute("DELETE FROM lab.b")
            cursor.execute("TRUNCATE lab.a")
    assert marks(lab) == [None] * 12
    assert {context["user_id"] for context in lab.contexts} == {7}
    assert all("SQL" in context and "connection" in context for context in lab.contexts)
    assert {json.dumps(context["values"]["connection"]) for context in lab.contexts} == {"1"}


def test_without_a_context_nothing_is_claimed(lab: Pipeline, session: Any) -> None:
    execute("INSERT INTO lab.b VALUES (1)")
    session.execute("INSERT INTO lab.b VALUES (2)")
    session.execute("INSERT INTO lab.b VALUES (3); INSERT INTO lab.b VALUES (4)")
    assert marks(lab) == [None] * 4
    assert all("db_user" in context for context in lab.contexts[1:])


def forge_comment(session: Any, own: str) -> None:
    session.execute('/*Bemi {"user_id": 7,"SQL": "x"} Bemi*/ INSERT INTO lab.b VALUES (1)')


def forge_part(session: Any, own: str) -> None:
    session.execute(own.replace('"user_id": 7', '"user_id": 8') + "INSERT INTO lab.b VALUES (1)")


def forge_statement(session: Any, own: str) -> None:
    session.execute(own.replace("lab.a", "lab.b") + "INSERT INTO lab.b VALUES (1)")


def move_signature(session: Any, own: str) -> None:
    signature = own[own.index(',"_bemi_signature"') :]
    session.execute('/*Bemi {"user_id": 8,"SQL": "x"' + signature + "INSERT INTO lab.b VALUES (1)")


def forge_setting(session: Any, own: str) -> None:
    session.execute(
        "BEGIN; SET LOCAL bemi.context = '{\"user_id\": 7}'; INSERT INTO lab.b VALUES (1); COMMIT"
    )


def move_to_setting(session: Any, own: str) -> None:
    context = own.removeprefix("/*Bemi ").removesuffix(" Bemi*/ ")
    session.execute("BEGIN")
    session.execute("SELECT set_config('bemi.context', %s, true)", [context])
    session.execute("INSERT INTO lab.b VALUES (1)")
    session.execute("COMMIT")


def forge_message(session: Any, own: str) -> None:
    session.execute(
        "BEGIN; SELECT pg_logical_emit_message(true, '_bemi', '{\"user_id\": 7, \"unverified\": false}')"
    )
    session.execute("ALTER TABLE lab.b DISABLE TRIGGER ALL")
    session.execute("INSERT INTO lab.b VALUES (1); COMMIT")


def forge_message_of_the_trigger(session: Any, own: str) -> None:
    session.execute(
        "BEGIN; INSERT INTO lab.b VALUES (0); SELECT pg_logical_emit_message(true, '_bemi', concat("
        "'''root''1''gunicorn'' ', 'lab.b'::regclass::oid, '{\"user_id\": 7,\"SQL\": \"x\"}')); "
        "SELECT set_config('_bemi.last', concat('lab.b'::regclass::oid, "
        '\'{"user_id": 7,"SQL": "x"}\'), true)'
    )
    session.execute('/*Bemi {"user_id": 7,"SQL": "x"} Bemi*/ INSERT INTO lab.b VALUES (1)')
    session.execute("COMMIT")


def forge_role(session: Any, own: str) -> None:
    session.execute('/*Bemi {"db_user": "somebody else","SQL": "x"} Bemi*/ INSERT INTO lab.b VALUES (1)')


def forge_event(session: Any, own: str) -> None:
    session.execute(
        "SELECT pg_logical_emit_message(true, '_bemi_event', "
        '\'{"schema": "public", "event": "sent", "context": {"unverified": false}}\')'
    )


@pytest.mark.parametrize(
    "forge",
    [
        forge_comment, forge_part, forge_statement, move_signature, forge_setting, move_to_setting,
        forge_message, forge_message_of_the_trigger, forge_role, forge_event,
    ],
)  # fmt: skip
def test_what_a_role_says_in_the_name_of_the_application_is_marked(
    lab: Pipeline, session: Any, forge: Callable[[Any, str], None]
) -> None:
    with bound_context(user_id=7):
        own = seen(lambda: execute("INSERT INTO lab.a VALUES (1, 'x')"))
    assert marks(lab) == [None]
    forge(session, own)
    lab.drain()
    assert lab.contexts[-1]["unverified"] is True


def test_a_comment_that_was_read_can_be_sent_again_and_shows_its_statement(
    lab: Pipeline, session: Any
) -> None:
    with bound_context(user_id=7):
        own = seen(lambda: execute("INSERT INTO lab.a VALUES (1, 'x')"))
    session.execute(own + "DELETE FROM lab.a")
    # What the documentation says that a signature does not show.
    assert marks(lab) == [None, None]
    assert [context["SQL"] for context in lab.contexts] == ["INSERT INTO lab.a VALUES (1, 'x')"] * 2
    assert lab.contexts[0]["connection"]["pid"] != lab.contexts[1]["connection"]["pid"]


def test_events_of_the_application_are_verified(lab: Pipeline) -> None:
    with bound_context(user_id=7), transaction.atomic():
        record("before", note="50% \\ é")
        execute("INSERT INTO lab.b VALUES (1)")
        record("inside")
    with override_settings(BEMI_CONTEXT_KEYS=None):
        record("unsigned")
    assert marks(lab) == [None, None, None, True]
    (unsigned,) = Change.objects.unverified()
    assert unsigned.operation == "EVENT" and unsigned.context["event"] == "unsigned"
    assert Change.objects.context_not({"unverified": True}).count() == 3
    assert [context.get("event") for context in lab.contexts] == ["before", None, "inside", "unsigned"]


def test_rows_that_an_unverified_context_skips_are_counted_and_marked(lab: Pipeline, session: Any) -> None:
    with skip_tracking(reason="rebuild"):
        execute("INSERT INTO lab.b VALUES (1)")
    session.execute('/*Bemi {"_bemi_skip": true, "user_id": 7} Bemi*/ INSERT INTO lab.b VALUES (1)')
    assert [change.operation for change in lab.drain()] == ["SKIPPED", "SKIPPED"]
    assert [context.get("unverified") for context in lab.contexts] == [None, True]


def test_keys_can_be_replaced_and_masks_come_after_the_signature(lab: Pipeline) -> None:
    kept = lab.config
    with bound_context(user_id=7, email="a@example.com"):
        for keys, number in ((OLD, 1), ([OLD, KEY], 2), ("n" * 32, 3), (None, 4), ("short", 5)):
            with override_settings(BEMI_CONTEXT_KEYS=keys):
                execute(f"INSERT INTO lab.b VALUES ({number})")
        try:
            assert marks(lab) == [None, None, True, True, True]
            execute("INSERT INTO lab.b VALUES (6)")
            lab.stop()
            lab.config = kept._replace(masking=rules_of({"context->email": "partial"}, None))
            assert marks(lab) == [None] and lab.contexts[0]["email"].endswith(".com")
            assert lab.contexts[0]["email"] != "a@example.com"
            lab.stop()
            lab.config = kept._replace(provenance=Provenance())
            execute("INSERT INTO lab.b VALUES (7)")
            # A worker without keys marks nothing, and the signature is not stored.
            assert marks(lab) == [None]
        finally:
            lab.stop()
            lab.config = kept


def test_engines_of_sqlalchemy_sign_with_every_driver(lab: Pipeline) -> None:
    sqlalchemy: Any = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
    from bemi_django.integrations.sqlalchemy_events import record as record_in
    from tests.integration.capture.test_bridge_drivers import DRIVERS, Engine

    def work(opened: Any) -> None:
        with bound_context(user_id=7, text='a "b" 50% \\ :x é'):
            for value in ("x", 'y"\\'):
                opened.execute(sqlalchemy.text("INSERT INTO lab.a (id, n) VALUES (1, :n)"), {"n": value})
                opened.execute(sqlalchemy.text("DELETE FROM lab.a"))
            record_in(opened, "sent", note="50% \\ é")
        with bound_context(user_id=8):
            opened.execute(sqlalchemy.text("INSERT INTO lab.b VALUES (1)"))

    for driver in DRIVERS:
        Engine(driver).run(work)
        Engine(driver).run(work, autocommit=True)
        assert marks(lab) == [None] * 12, driver
        assert [context["user_id"] for context in lab.contexts] == [7, 7, 7, 7, 7, 8] * 2


def test_a_wrong_key_is_an_error_of_check_and_of_the_worker_and_is_never_shown(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, lab: Pipeline
) -> None:
    with override_settings(BEMI_CONTEXT_KEYS=[KEY, "tooshort"]):
        (error,) = check_keys()
        assert error.id == "bemi.E026"
        with pytest.raises(
            Exception, match="BEMI_CONTEXT_KEYS is too short: it must have 16 bytes"
        ) as raised:
            call_command("bemi", "run", until_current=True)
        assert not isinstance(raised.value, CommandError) or "tooshort" not in str(raised.value)
        with bound_context(user_id=7):
            execute("INSERT INTO lab.b VALUES (1)")
        call_command("bemi", "status")
    with override_settings(BEMI_CONTEXT_KEYS=[KEY], BEMI_CONTEXT_AGE=0):
        (age,) = check_keys()
        assert age.id == "bemi.E026" and "BEMI_CONTEXT_AGE" in age.msg
    with override_settings(BEMI_CONTEXT_KEYS=[KEY], BEMI_CONTEXT_AGE=600):
        assert check_keys() == []
        call_command("bemi", "status")
    printed = "".join(capfd.readouterr()) + caplog.text + str(error) + str(raised.value)
    assert "tooshort" not in printed and KEY not in printed
    assert marks(lab) == [True]
