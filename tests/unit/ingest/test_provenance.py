"""What messages say of the connection is read whatever names say, and no context can say it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.protocol.byte_layout import logical_content
from bemi_django.ingest.protocol.messages import Begin, Commit, Insert, Relation
from bemi_django.ingest.stitching.context_message import parse
from bemi_django.ingest.stitching.provenance import Provenance, without_connection
from bemi_django.ingest.stitching.stitcher import Stitcher
from tests.support.stitching import feed

TABLE = Relation(7, "public", "t", ())
NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=63)
APP = b"'app' 'app'4711 10.0.0.1 'gunicorn'"
OF_APP = {"role": "app", "application_name": "gunicorn", "address": "10.0.0.1", "pid": 4711}


def literal(name: str) -> str:
    """Quote as quote_literal() does."""
    doubled = name.replace("'", "''").replace("\\", "\\\\")
    return f"{'E' * (chr(92) in name)}'{doubled}'"


def contexts(*contents: bytes, is_recorded: bool = True) -> list[Any]:
    """Return the context of a row behind each message of one transaction."""
    stitcher = Stitcher(lambda header: {7}, provenance=Provenance(is_recorded))
    feed(stitcher, Begin(8, 0, 1))
    found = []
    for content in contents:
        stitcher.follow(content)
        (change,) = feed(stitcher, Insert(TABLE, []))
        found.append(json.loads(change.context))
    return found


@given(NAMES, NAMES, NAMES | st.none(), st.sampled_from(["", "10.0.0.1", "fe80::1", "::ffff:10.0.0.1"]))
def test_names_may_have_any_characters(role: str, program: str, current: str | None, address: str) -> None:
    names = literal(role), literal(role if current is None else current)
    connection = f"{names[0]} {names[1]}4711 {address} {literal(program)}"
    (context,) = contexts(connection.encode() + b'7{"a": 1}')
    expected = {"role": role, "application_name": program, "pid": 4711}
    expected |= {} if current in (None, role) else {"current_role": current}
    expected |= {"address": address} if address else {}
    assert context == {"a": 1, "connection": expected}


def test_names_in_another_encoding_are_readable_as_far_as_they_can_be() -> None:
    (context,) = contexts(b"'caf\xe9' 'caf\xe9'1  ''7{}")
    assert context == {"connection": {"role": "caf\ufffd", "application_name": "", "pid": 1}}


def test_the_first_message_says_it_for_the_whole_transaction() -> None:
    stitcher = Stitcher(lambda header: {7}, provenance=Provenance(True))
    found: list[Any] = []
    for content in (APP + b'7{"n": 1,"SQL": "a"}', b'7+"b"}', b"7", b'7{"n": 2}', b'{"n": 3}', b" { } "):
        if not found:
            feed(stitcher, Begin(8, 0, 1))
        stitcher.follow(content)
        found += [json.loads(change.context) for change in feed(stitcher, Insert(TABLE, []))]
    expected: list[dict[str, Any]] = [
        {"n": 1, "SQL": "a"}, {"n": 1, "SQL": "b"}, {"n": 1, "SQL": "b"}, {"n": 2}, {"n": 3}, {},
    ]  # fmt: skip
    assert found == [{**context, "connection": OF_APP} for context in expected]
    feed(stitcher, Commit(8, 16))
    feed(stitcher, Begin(24, 0, 2))
    stitcher.follow(b'7{"n": 4}')
    (change,) = feed(stitcher, Insert(TABLE, []))
    assert json.loads(change.context) == {"n": 4}


@pytest.mark.parametrize("is_recorded", [True, False])
@pytest.mark.parametrize(
    "context",
    [
        b'{"connection": {"role": "root"}, "n": 12345678901234567890.10}',
        rb'{"conn\u0065ction": {"role": "root"}, "n": 12345678901234567890.10}',
        b'{"connection": {"role": "root"}, "app_connection": "mine", "n": 12345678901234567890.10}',
        b'{"n": 1, "connection": 1, "connection": {"role": "root"}, "n": 12345678901234567890.10}',
    ],
)
def test_a_context_cannot_say_it(context: bytes, *, is_recorded: bool) -> None:
    for message in (APP + b"7" + context, context):
        stitcher = Stitcher(lambda header: {7}, provenance=Provenance(is_recorded))
        feed(stitcher, Begin(8, 0, 1))
        stitcher.follow(message)
        (change,) = feed(stitcher, Insert(TABLE, []))
        found = json.loads(change.context)
        assert found["app_app_connection" if b"app_" in context else "app_connection"] == {"role": "root"}
        assert found.get("app_connection") in ({"role": "root"}, "mine")
        assert found.get("connection") == (OF_APP if is_recorded and message[:1] == b"'" else None)
        assert b"12345678901234567890.10" in change.context


def test_a_value_that_has_the_word_in_it_stays() -> None:
    context = rb'{"a": {"connection": "x"}, "SQL": "UPDATE \"connection\" SET \u0061 = 1"}'
    stitcher = Stitcher(lambda header: {7})
    feed(stitcher, Begin(8, 0, 1))
    stitcher.follow(b"7" + context)
    assert feed(stitcher, Insert(TABLE, []))[0].context == context


def test_nothing_is_recorded_if_it_is_turned_off() -> None:
    assert contexts(APP + b'7{"n": 1}', b'7{"n": 2}', is_recorded=False) == [{"n": 1}, {"n": 2}]


def test_names_that_no_server_has_are_kept_as_text_that_is_cut() -> None:
    (context,) = contexts(b"'%b' 'app'1  ''7{}" % (b"a" * 2_000_000))
    assert list(context) == ["_bemi_invalid"] and len(context["_bemi_invalid"]) < 1_100_000
    # jsonb has no character for that.
    assert contexts(b"'a\0' 'a'1  ''7{}") == [{"_bemi_invalid": "'a\u2400' 'a'1  ''7{}"}]


@pytest.mark.parametrize(
    "content", [b"'app' 'app'4711 10.0.0.1 'x'", b"'app' 'b'x 'y'7{}", b"'a' 'a'1  'b' x{}", b"E", b"''"]
)
def test_what_only_looks_like_it_is_a_context_that_cannot_be_read(content: bytes) -> None:
    assert parse(content) is None
    assert contexts(content) == [{"_bemi_invalid": content.decode()}]


def test_a_dead_letter_does_not_say_it() -> None:
    def message(content: bytes) -> bytes:
        return b"M\1" + bytes(8) + b"_bemi\0" + len(content).to_bytes(4, "big") + content

    whole = message(APP + b"7[1]")
    assert logical_content(whole, b"_bemi\0") == APP + b"7[1]"
    assert without_connection(whole) == message(b"7[1]")
    for other in (message(b"7[1]"), message(b"'app"), b"M", b"Mx" + whole):
        assert without_connection(other) == other


def test_a_context_that_cannot_be_stored_still_says_it() -> None:
    assert contexts(APP + b"7[1]") == [{"_bemi_invalid": "[1]", "connection": OF_APP}]
