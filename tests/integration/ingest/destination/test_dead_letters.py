"""What cannot be decoded or stored: the row holds what is known, the message is kept, the worker goes on."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection

from bemi_django import conf
from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.ingest import dead_letter_retry
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.rows.fast_path import FastPath
from bemi_django.ingest.rows.rendering import Lost
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.ingest.stream.connections import connect_tables
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.models import Change, DeadLetter
from bemi_django.schema import sql
from sample_project.todos.models import Todo
from tests.support import roles
from tests.support.activity import counted, to_count
from tests.support.pipeline import Drain, Pipeline, worker_config


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def document(drain: Drain) -> Iterator[None]:
    execute("CREATE TABLE document (id int PRIMARY KEY, body json, note text)")
    drain()
    yield
    execute("DROP TABLE document")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(r'{"a": "\u0000"}', id="a NUL"),
        pytest.param('{"a": 1e1000000}', id="a number beyond numeric"),
    ],
)
def test_json_that_is_no_jsonb_is_named_and_the_rest_of_the_row_is_there(
    drain: Drain, document: None, body: str
) -> None:
    with connection.cursor() as cursor:
        for number in range(1, 6):
            cursor.execute(
                "INSERT INTO document VALUES (%s, %s, 'x')", [number, body if number == 3 else '{"a": 1}']
            )
    changes = drain()
    assert [change.primary_key for change in changes] == ["1", "2", "3", "4", "5"]
    assert [change.unavailable for change in changes] == [None, None, {"after": ["body"]}, None, None]
    assert changes[2].after == {"id": 3, "note": "x"}
    (letter,) = DeadLetter.objects.all()
    assert (letter.change_id, letter.position) == (changes[2].pk, changes[2].position)
    assert letter.reason == "after.body: not accepted as jsonb"
    assert body.encode() in bytes(letter.message)


def test_a_bad_row_in_a_large_transaction_costs_only_itself(drain: Drain, document: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO document "
            "SELECT i, CASE WHEN i IN (1, 7001, 9000) THEN '\"\\u0000\"' ELSE '1' END::json, "
            "repeat('x', 1000) FROM generate_series(1, 9000) i"
        )
    changes = drain()
    assert [int(change.primary_key or 0) for change in changes] == list(range(1, 9001))
    bad = [change.primary_key for change in changes if change.unavailable]
    assert bad == ["1", "7001", "9000"]
    assert DeadLetter.objects.count() == 3


@pytest.mark.parametrize(
    "content",
    ["{broken", '{"a": 1e1000000}', '{"a": "\\ud800"}'],
    ids=["no JSON", "a number beyond numeric", "half a character"],
)
def test_a_broken_context_of_another_client_is_kept_as_text(drain: Drain, content: str) -> None:
    client = psycopg2.connect(**conf.connection_parameters("default"))
    with client, client.cursor() as cursor:
        cursor.execute(
            "/*Bemi " + content + " Bemi*/ INSERT INTO todo (task, is_completed, created_at) "
            "VALUES ('x', false, now()), ('y', false, now())"
        )
    client.close()
    Todo.objects.create(task="z")
    first, second, third = drain()
    assert first.context == second.context == {"_bemi_invalid": content}
    assert (first.after["task"], second.after["task"]) == ("x", "y")
    assert third.context["SQL"].startswith("INSERT")
    assert DeadLetter.objects.exists()


def test_an_undecodable_message_of_a_row_leaves_a_row_of_what_is_known(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    Todo.objects.create(task="before")
    todo = Todo.objects.create(task="broken")
    Todo.objects.create(task="after")
    messages = SlotSource.messages

    def damaged(source: SlotSource) -> Iterator[bytes]:
        for data in messages(source):
            yield data[:-1] if data[:1] == b"I" and b"broken" in data else data

    with monkeypatch.context() as patched:
        patched.setattr(SlotSource, "messages", damaged)
        first, second, third = drain()
    assert (first.after["task"], third.after["task"]) == ("before", "after")
    assert (second.operation, second.table, second.primary_key, second.after) == ("CREATE", "todo", None, {})
    assert second.unavailable is not None and "task" in second.unavailable["after"]
    (letter,) = DeadLetter.objects.all()
    assert letter.change_id == second.pk and "undecodable" in letter.reason
    assert todo.task.encode() in bytes(letter.message)


@pytest.mark.parametrize("error", [RecursionError(), MemoryError(), AttributeError("a bug")], ids=repr)
def test_whatever_goes_wrong_with_one_row_the_others_are_recorded(
    drain: Drain, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    write = RowWriter.row

    def fail(writer: RowWriter, change: Stitched, *lost: Lost) -> bytes:
        if change.after is not None and b"broken" in change.after:
            raise error
        return write(writer, change, *lost)

    for task in ("before", "broken", "after"):
        Todo.objects.create(task=task)
    with monkeypatch.context() as patched:
        # All rows take the long path.
        patched.setattr(FastPath, "take", lambda *arguments: None)
        patched.setattr(RowWriter, "row", fail)
        first, second, third = drain()
    assert (first.after["task"], third.after["task"]) == ("before", "after")
    assert (second.operation, second.table, second.after) == ("CREATE", "todo", {})
    assert second.context["SQL"].startswith("INSERT")
    (letter,) = DeadLetter.objects.all()
    assert letter.change_id == second.pk and type(error).__name__ in letter.reason


def test_a_message_of_which_nothing_is_known_leaves_a_letter(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = SlotSource.messages

    def damaged(source: SlotSource) -> Iterator[bytes]:
        for data in messages(source):
            yield b"?" + data[1:] if data[:1] == b"I" and b"broken" in data else data

    Todo.objects.create(task="broken")
    Todo.objects.create(task="after")
    with monkeypatch.context() as patched:
        patched.setattr(SlotSource, "messages", damaged)
        (change,) = drain()
    assert change.after["task"] == "after"
    (letter,) = DeadLetter.objects.all()
    assert letter.change_id is None and "unknown message type" in letter.reason


HIDE = "CREATE OR REPLACE FUNCTION hide(secret) RETURNS json LANGUAGE sql IMMUTABLE AS $$SELECT {}$$"


def retry(*arguments: str) -> str:
    out = io.StringIO()
    call_command("bemi", "retry-dead-letters", *arguments, stdout=out)
    return out.getvalue().strip()


def test_a_letter_that_can_be_read_again_becomes_the_whole_change(drain: Drain, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"
    execute("CREATE TYPE secret AS ENUM ('x', 'y')")
    execute(HIDE.format("to_json($1::text)"))
    execute("CREATE CAST (secret AS json) WITH FUNCTION hide(secret)")
    try:
        execute("CREATE TABLE safe (id int PRIMARY KEY, word secret)")
        execute("INSERT INTO safe VALUES (1, 'x')")
        execute(HIDE.format("('{{' || $1)::json"))
        (change,) = drain()
        assert (change.after, change.unavailable) == ({"id": 1}, {"after": ["word"]})
        assert retry() == "0 repaired, 1 kept"
        execute(HIDE.format("to_json($1::text)"))
        assert retry() == "1 repaired, 0 kept"
        mended = Change.objects.get(table="safe")
        assert (mended.pk, mended.after, mended.unavailable) == (change.pk, {"id": 1, "word": "x"}, None)
        assert mended.context == change.context and mended.committed_at == change.committed_at
        assert retry() == "0 repaired, 0 kept"
        assert counted() == to_count()
    finally:
        execute("DROP TABLE safe; DROP TYPE secret CASCADE")


def oid_of(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::regclass::oid::bigint", [table])
        return int(cursor.fetchone()[0])


def origin_with(letter: DeadLetter, **values: Any) -> dict[str, Any]:
    return {"origin": {**letter.origin, **values}}


#: What a letter may be made to say by whoever may add letters, beside the value that its change lacks. Each
#: gets the letter, its message without what kept it from being read, and the change beside it.
FORGERIES: dict[str, Callable[[DeadLetter, bytes, Change], dict[str, Any]]] = {
    "another value": lambda letter, message, other: {"message": message.replace(b"first", b"forge")},
    "another row": lambda letter, message, other: {
        "message": message.replace(b"\0\0\0\x011", b"\0\0\0\x019")
    },
    "a change that is whole": lambda letter, message, other: {
        "message": message.replace(b"\0\0\0\x011", b"\0\0\0\x012").replace(b"first", b"forge"),
        "change_id": other.pk,
        **origin_with(letter, ordinal=1),
    },
    "a column that there was not": lambda letter, message, other: {
        "message": message.replace(b"\0\0\0\x011", b"\0\0\0\x012").replace(b"first", b"other"),
        "change_id": other.pk,
        **origin_with(
            letter,
            ordinal=1,
            relation=[
                *letter.origin["relation"][:3],
                [["id", 23, True], ["paid", 114, True], ["note", 25, True]],
            ],
        ),
    },
    "another context": lambda letter, message, other: origin_with(letter, context='{"user_id": 7}'),
    "another operation": lambda letter, message, other: origin_with(letter, operation="BASELINE"),
    "another table": lambda letter, message, other: origin_with(
        letter, relation=[oid_of("todo"), "public", "todo", letter.origin["relation"][3]]
    ),
    "another transaction": lambda letter, message, other: origin_with(
        letter, begin=[letter.origin["begin"][0], letter.origin["begin"][1], 7]
    ),
    "another place in it": lambda letter, message, other: origin_with(letter, ordinal=7),
    "another change": lambda letter, message, other: {"change_id": other.pk},
}


def test_a_letter_adds_to_its_change_and_alters_nothing_in_the_log(
    drain: Drain, document: None, settings: Any
) -> None:
    settings.BEMI_SLOT = "bemi_test"
    execute("INSERT INTO document VALUES (1, '\"\\u0000\"', 'first'), (2, '{}', 'other')")
    _, other = drain()
    known = list(Change.objects.order_by("pk").values())
    letter = DeadLetter.objects.get()
    readable = {
        "message": bytes(letter.message).replace(b"\\u0000", b"a-word"),
        "change_id": letter.change_id,
        "origin": letter.origin,
    }
    for name, forge in FORGERIES.items():
        DeadLetter.objects.update(**{**readable, **forge(letter, readable["message"], other)})
        assert retry() == "0 repaired, 1 kept", name
        assert list(Change.objects.order_by("pk").values()) == known, name
    DeadLetter.objects.update(**readable)
    execute("UPDATE changes SET diverged = true WHERE \"table\" = 'document'")
    assert retry() == "1 repaired, 0 kept"
    completed, _ = Change.objects.order_by("pk")
    assert completed.after == {"id": 1, "body": "a-word", "note": "first"} and completed.diverged


@pytest.fixture
def bytes_job(transactional_db: None) -> Iterator[WorkerConfig]:
    """The configuration of a worker on a database whose encoding takes any bytes."""
    execute("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    made = worker_config("bemi_bytes")
    made = made._replace(source={**made.source, "dbname": "bytes"})
    with closing(connect_tables(made)) as opened, opened, opened.cursor() as cursor:
        # The file is UTF-8, which this database does not know.
        cursor.execute(sql.up(*sql.SOURCE))
        cursor.execute("CREATE TABLE public.raw (id int PRIMARY KEY, body text, note text)")
        cursor.execute(
            "ALTER TABLE public.raw REPLICA IDENTITY FULL; CREATE PUBLICATION bemi FOR TABLE public.raw"
        )
    yield made
    Pipeline.of_project("bemi_bytes").release()
    with closing(connect_tables(made)) as opened, opened, opened.cursor() as cursor:
        cursor.execute("SELECT pg_drop_replication_slot('bemi_bytes')")
    roles.drop_database("bytes")
    Pipeline.of_project("bemi_bytes").drop()


@pytest.mark.administrator
def test_bytes_that_are_no_text_are_kept(bytes_job: WorkerConfig) -> None:
    Supervisor(bytes_job).run(until_current=True)
    with closing(connect_tables(bytes_job)) as opened, opened, opened.cursor() as cursor:
        cursor.execute(
            r"INSERT INTO public.raw VALUES (1, E'caf\xe9', 'ok'), (2, 'plain', 'ok'), (3, E'a\nb\xff', 'ok')"
        )
    Supervisor(bytes_job).run(until_current=True)
    first, second, third = Change.objects.filter(database="bytes")
    assert (first.after, first.unavailable) == ({"id": 1, "note": "ok"}, {"after": ["body"]})
    assert (second.after, second.unavailable) == ({"id": 2, "body": "plain", "note": "ok"}, None)
    assert (third.after, third.unavailable) == ({"id": 3, "note": "ok"}, {"after": ["body"]})
    letters = {bytes(letter.message) for letter in DeadLetter.objects.all()}
    assert len(letters) == 2 and all(b"ok" in message for message in letters)
    assert any(b"caf\xe9" in message for message in letters)
    # A baseline does not begin again and again with a key that is no text.
    with closing(connect_tables(bytes_job)) as opened, opened, opened.cursor() as cursor:
        cursor.execute(
            "TRUNCATE public.raw; ALTER TABLE public.raw DROP CONSTRAINT raw_pkey, ADD PRIMARY KEY (body)"
        )
        cursor.execute(r"INSERT INTO public.raw VALUES (1, E'caf\xe9', 'ok')")
    turns: list[float] = []

    def watch(table: str, part: float) -> None:
        turns.append(part)
        assert len(turns) < 9

    (result,) = baseline(bytes_job, BaselineOptions(condition="false", watch=watch))
    assert "CharacterNotInRepertoire" in str(result)


@pytest.mark.administrator
def test_names_that_are_no_text_are_escaped(bytes_job: WorkerConfig) -> None:
    run = r"DO $$ BEGIN EXECUTE E'{}'; END $$"
    table = r'public."caf\xe9"'
    with closing(connect_tables(bytes_job)) as opened, opened, opened.cursor() as cursor:
        for statement in (
            rf'CREATE TABLE {table} (id int PRIMARY KEY, "pr\xefx" text)',
            rf"ALTER TABLE {table} REPLICA IDENTITY FULL",
            rf"ALTER PUBLICATION bemi ADD TABLE {table}",
        ):
            cursor.execute(run.format(statement))
    Supervisor(bytes_job).run(until_current=True)
    with closing(connect_tables(bytes_job)) as opened, opened, opened.cursor() as cursor:
        cursor.execute(run.format(rf"INSERT INTO {table} VALUES (1, ''ż'')"))  # noqa: S608 - a constant
        cursor.execute(run.format(rf"ALTER TABLE {table} RENAME TO cafe"))
        cursor.execute("DELETE FROM public.cafe; INSERT INTO public.raw VALUES (1, 'ok', 'ok')")
    Supervisor(bytes_job).run(until_current=True)
    row = {"id": 1, "pr%EFx": "ż"}
    found = Change.objects.filter(database="bytes").values_list("table", "before", "after")
    assert list(found[:2]) == [("caf%E9", {}, row), ("cafe", row, {})] and len(found) == 3
    assert not DeadLetter.objects.exists()


def test_a_letter_that_still_fails_does_not_keep_the_others(drain: Drain, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"
    execute("CREATE TYPE secret AS ENUM ('x', 'y')")
    execute(HIDE.format("('{{' || $1)::json"))
    execute("CREATE CAST (secret AS json) WITH FUNCTION hide(secret)")
    try:
        execute("CREATE TABLE safe (id int PRIMARY KEY, word secret)")
        execute(
            "INSERT INTO safe SELECT i, (ARRAY['x', 'y'])[i % 2 + 1]::secret FROM generate_series(1, 25) i"
        )
        drain()
        assert DeadLetter.objects.count() == 25
        # Letters that nobody can read, in front of and behind the others.
        broken = (
            "INSERT INTO _bemi.dead_letters (id, slot, position, change_id, message, origin, reason) "
            "OVERRIDING SYSTEM VALUE SELECT {}, slot, position, change_id, {}, {}, reason "
            "FROM _bemi.dead_letters WHERE id = (SELECT min(id) FROM _bemi.dead_letters WHERE id > 0)"
        )
        begin = "jsonb_build_object('begin', origin -> 'begin')"
        execute(broken.format("-1", "message", begin))
        execute(broken.format("1000000", "'\\x49'", "origin"))
        execute(broken.format("1000001", "message", 'origin || \'{"relation": [1, "s", "t", []]}\''))
        execute(HIDE.format("CASE WHEN $1 = 'x' THEN '1' ELSE '{{' END::json"))
        assert retry() == "12 repaired, 16 kept"
        assert Change.objects.filter(table="safe", unavailable__isnull=True).count() == 12
    finally:
        execute("DROP TABLE safe; DROP TYPE secret CASCADE")


def test_letters_without_a_change_are_removed(drain: Drain, document: None, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"
    execute("INSERT INTO document SELECT i, '\"\\u0000\"', 'x' FROM generate_series(1, 2) i")
    execute("SELECT pg_logical_emit_message(true, '_bemi', 'no context')")
    first, _ = drain()
    assert DeadLetter.objects.count() == 3
    # As retention does.
    execute(f"DELETE FROM changes WHERE id = '{first.pk}'")  # noqa: S608 - an id
    assert retry() == "0 repaired, 2 kept, 1 removed"
    assert retry("--dismiss", "--reason", "a test") == "0 repaired, 1 kept, 1 removed"
    assert DeadLetter.objects.get().change_id is not None
    assert retry("--dismiss") == "0 repaired, 1 kept"
    (event,) = drain()
    assert event.operation == "EVENT" and event.context["os_user"] and event.context["database_role"]
    assert {key: event.context[key] for key in ("event", "details", "command", "arguments", "reason")} == {
        "event": "dismissed_dead_letters",
        "details": {"letters": 1},
        "command": "bemi retry-dead-letters",
        "arguments": {"dismiss": True},
        "reason": "a test",
    }


def test_letters_stay_if_nobody_can_be_told_who_removes_them(drain: Drain, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"
    execute("SELECT pg_logical_emit_message(true, '_bemi', 'no context')")
    drain()

    def refuse(letters: int) -> None:
        raise ZeroDivisionError(letters)

    with pytest.raises(ZeroDivisionError, match="1"):
        dead_letter_retry.retry(worker_config("bemi_test", role=roles.OWNER), refuse)
    assert DeadLetter.objects.count() == 1
