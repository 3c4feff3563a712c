"""The content of a message becomes an event that the log can hold, whatever it is."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.rows.jsonb_limits import is_jsonb
from bemi_django.ingest.stitching.event_message import MAX_KEY, Event, EventReader, stated_at
from bemi_django.masking.contexts import ContextMasks
from bemi_django.masking.rules import DEFAULT, NOTHING
from tests.support.hostile import hostile_context

READER = EventReader(ContextMasks(NOTHING))
PARTS: dict[str, Any] = {"event": "viewed", "schema": "public", "table": "todo", "key": "42"}


def read(reader: EventReader = READER, **parts: Any) -> Event:
    return reader.read(json.dumps({**PARTS, **parts}).encode())


def test_all_parts_of_an_event_are_read() -> None:
    content = {**PARTS, "details": {"a": 1}, "context": {"user_id": 7, "event": "x", "details": "y"}}
    message = b"814000000000000" + json.dumps(content).encode()
    event = READER.read(message)
    assert stated_at(message) == 814_000_000_000_000 and event[:3] == ("public", "todo", "42")
    assert json.loads(event.context) == {
        "event": "viewed",
        "details": {"a": 1},
        "user_id": 7,
        "app_event": "x",
        "app_details": "y",
    }
    assert not event.is_invalid


def test_of_all_parts_only_the_name_is_needed() -> None:
    assert READER.read(b'{"event": "e"}') == Event("_bemi", "events", None, b'{"event":"e"}')
    event = READER.read(b'7{"event": "e", "schema": "s", "table": "t", "key": null, "details": {}}')
    assert event == Event("s", "t", None, b'{"event":"e"}')
    assert READER.read(b'{"event": "e", "schema": "s", "key": "1"}').table == "events"


def test_numbers_are_copied_as_they_are_written() -> None:
    event = READER.read(b'{"event": "e", "details": {"n": 1.50, "big": 100000000000000000000000}}')
    assert event.context == b'{"event":"e","details":{"n":1.50,"big":100000000000000000000000}}'


@pytest.mark.parametrize(
    "parts",
    [
        {"event": None},
        {"event": ""},
        {"event": "é" * 51},
        {"event": 7},
        {"schema": None},
        {"table": "t" * 64},
        {"table": ["t"]},
        {"key": 42},
        {"key": "k" * (MAX_KEY + 1)},
        {"details": []},
        {"context": "x"},
        {"key": "\0"},
        {"table": "\ud800"},
    ],
    ids=str,
)
def test_what_is_not_valid_is_kept_as_text(parts: dict[str, Any]) -> None:
    event = read(**parts)
    assert event[:3] == ("_bemi", "events", None) and event.is_invalid
    kept = json.loads(event.context)["_bemi_invalid"]
    assert json.loads(kept) == json.loads(json.dumps({**PARTS, **parts}))


@pytest.mark.parametrize("content", [b"", b"7", b"{}", b"[1]", b"\xff", b"9" * 19 + b'{"event": "e"}'])
def test_what_is_no_event_is_kept_as_text(content: bytes) -> None:
    assert READER.read(content).is_invalid


def test_a_huge_one_is_kept_in_part() -> None:
    event = READER.read(b'{"event": "' + b"x" * 20_000_000 + b'"}')
    assert event.is_invalid and len(event.context) < 1_100_000


def test_details_and_context_are_masked() -> None:
    reader = EventReader(ContextMasks(DEFAULT))
    event = read(reader, details={"card": {"password": "row-value"}}, context={"token": "row-value"})
    assert b"row-value" not in event.context and json.loads(event.context)["token"] == "***"
    sql = "UPDATE t SET a = 'row-value'"
    assert b"row-value" not in read(reader, context={"SQL": sql}).context
    assert b"row-value" not in read(reader, event=7, context={"SQL": sql}).context
    assert reader.may_hold_masked(b'{"SQL": "x"}') and reader.may_hold_masked(b"password")
    assert not reader.may_hold_masked(b"nothing") and not READER.may_hold_masked(b'{"SQL": "password"}')


def test_a_log_of_another_encoding_can_hold_it() -> None:
    event = read(EventReader(ContextMasks(NOTHING), "LATIN1"), event="ż", key="ż", table="é")
    assert event.key == "\\u017c" and event.table == "é" and event.context == b'{"event":"\\\\u017c"}'


@given(seed=st.integers(), number=st.integers(0, 10**20))
def test_nothing_that_anybody_can_send_makes_it_fail(seed: int, number: int) -> None:
    random = Random(seed)
    content = str(number).encode() * random.randrange(2) + hostile_context(random)
    for data in (content, b'{"event": "e", "details": ' + content + b"}", b'{"event": ' + content + b"}"):
        event = READER.read(data)
        assert is_jsonb(event.context)
        assert all("\0" not in (part or "") for part in event[:3])
