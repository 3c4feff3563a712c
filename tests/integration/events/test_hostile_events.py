"""Anybody may write a message: whatever it holds, the worker records an event or keeps it as text."""

from __future__ import annotations

import json
from random import Random

from django.db import connection

from bemi_django import record
from bemi_django.models import DeadLetter
from tests.support.hostile import hostile_context
from tests.support.pipeline import Drain
from tests.support.project_database import execute

EVENTS = 3_000


def send(content: str | bytes, *, transactional: bool = False) -> None:
    data = content.encode() if isinstance(content, str) else content
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(%s, '_bemi_event', %s::bytea)", [transactional, data])


def hostile_event(random: Random) -> bytes:
    """An event one of whose parts is hostile, or anything else."""
    if random.random() < 0.3:
        return hostile_context(random)
    parts = {
        "event": b'"e"',
        "schema": b'"public"',
        "table": b'"t"',
        "key": b'"1"',
        "details": b"{}",
        "context": b"{}",
    }
    for name in random.sample(sorted(parts), random.randrange(1, 4)):
        value = hostile_context(random)
        parts[name] = random.choice([value, json.dumps(value.decode("utf-8", "replace")).encode(), b"", b"7"])
    body = b", ".join(b'"%b": %b' % (name.encode(), value) for name, value in parts.items())
    return str(random.randrange(10 ** random.randrange(25))).encode() + b"{" + body + b"}"


def test_every_message_becomes_an_event_or_a_text(drain: Drain) -> None:
    random = Random(11)
    contents = [hostile_event(random).hex() for _ in range(EVENTS)]
    execute(
        "SELECT count(pg_logical_emit_message(n %% 2 = 0, '_bemi_event', decode(c, 'hex'))) "
        "FROM unnest(%s::text[]) WITH ORDINALITY u (c, n)",
        [contents],
    )
    events = drain()
    assert len(events) == EVENTS and {event.operation for event in events} == {"EVENT"}
    invalid = [event for event in events if "_bemi_invalid" in event.context]
    assert 0 < len(invalid) < EVENTS
    assert {(event.schema, event.table, event.primary_key) for event in invalid} == {
        ("_bemi", "events", None)
    }
    assert DeadLetter.objects.count() == len(invalid)
    assert all(isinstance(event.context["event"], str) for event in events if event not in invalid)
    record("deployed")
    (event,) = drain()
    assert event.context == {"event": "deployed"}


def test_a_huge_message_is_kept_in_part(drain: Drain) -> None:
    send(b'{"event": "' + b"x" * 40_000_000 + b'"}')
    send('{"event": "whole", "details": {"text": "' + "y" * 10_000_000 + '"}}')
    huge, whole = drain()
    assert len(huge.context["_bemi_invalid"]) < 1_100_000
    assert len(whole.context["details"]["text"]) == 10_000_000
    (letter,) = DeadLetter.objects.all()
    assert letter.change_id is None and letter.origin["cut"]["size"] > 40_000_000


def test_a_forged_key_or_table_is_no_more_than_text(drain: Drain) -> None:
    key, table = "1'; DROP TABLE changes; --", "no such table"
    send(json.dumps({"event": "e", "schema": "s", "table": table, "key": key}))
    send(json.dumps({"event": "e", "schema": "s", "table": "t" * 64}))
    send(json.dumps({"event": "e", "schema": "s", "table": "t", "key": "k" * 2001}))
    send(json.dumps({"event": "e", "table": "t"}))
    send(json.dumps({"event": "e", "schema": "s", "table": "t", "key": "é" * 1000}))
    first, *invalid, last = drain()
    assert (first.schema, first.table, first.primary_key) == ("s", table, key)
    assert ["_bemi_invalid" in event.context for event in invalid] == [True] * 3
    assert last.primary_key == "é" * 1000


def test_secrets_of_an_invalid_event_are_kept_nowhere(drain: Drain) -> None:
    send('{"event": 7, "details": {"password": "row-value"}}')
    send('{"event": 7, "context": {"SQL": "SELECT \'row-value\'"}}')
    send('{"event": "e", "context": {"SQL": "UPDATE t SET password = \'row-value\'", "token": "row-value"}}')
    assert all("row-value" not in json.dumps(event.context) for event in drain())
    assert all(b"row-value" not in bytes(letter.message) for letter in DeadLetter.objects.all())
    assert DeadLetter.objects.count() == 2
