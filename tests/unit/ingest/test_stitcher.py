from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.messages import (
    Begin,
    Commit,
    Decoded,
    Delete,
    Insert,
    Message,
    Relation,
    Truncate,
    Update,
)
from bemi_django.ingest.stitching.skipped import Skipped
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, read_again
from bemi_django.ingest.stitching.stitcher import Stitcher
from bemi_django.ingest.stitching.validation import storable_json
from tests.support import pgoutput
from tests.support.stitching import feed

TABLE = Relation(1, "public", "t", ())
ROW = Insert(TABLE, [])


def context(content: bytes) -> Message:
    return Message(0, b"_bemi", content)


def test_a_message_holds_until_the_next_one_of_the_transaction() -> None:
    stitcher = Stitcher()
    stream: list[Decoded] = [
        Begin(8, 0, 1),
        ROW,
        context(b'{"a": 1}'),
        ROW,
        Message(0, b"other", b"x"),
        ROW,
        context(b'{"a": 2}'),
        Truncate((TABLE, TABLE)),
        Commit(8, 16),
        Begin(24, 0, 2),
        ROW,
    ]
    changes = [change for message in stream for change in feed(stitcher, message)]
    assert [change.context for change in changes] == [
        b"{}", b'{"a": 1}', b'{"a": 1}', b'{"a": 2}', b'{"a": 2}', b"{}",
    ]  # fmt: skip
    assert [change.ordinal for change in changes] == [0, 1, 2, 3, 4, 0]
    assert [change.begin.xid for change in changes] == [1, 1, 1, 1, 1, 2]


def test_a_message_may_hold_only_what_is_new() -> None:
    stitcher = Stitcher()
    messages = [
        b'{"user": 7,"SQL": "a"}',
        b'+"b"}',
        # Only a name that is followed by its value: in a string its quotes are escaped.
        b'{"note": ",\\"SQL\\": ","SQL": "c"}',
        b'+"d"}',
        # Of a client that knows half of it.
        b"+",
    ]
    stream: list[Decoded] = [
        Begin(8, 0, 1),
        *(part for content in messages for part in (context(content), ROW)),
    ]
    stream += [Commit(8, 16), Begin(24, 0, 2), context(b'+"e"}'), ROW]
    changes = [change for message in stream for change in feed(stitcher, message)]
    assert [json.loads(change.context) for change in changes] == [
        {"user": 7, "SQL": "a"},
        {"user": 7, "SQL": "b"},
        {"note": ',"SQL": ', "SQL": "c"},
        {"note": ',"SQL": ', "SQL": "d"},
        {"_bemi_invalid": '{"note": ",\\"SQL\\": ","SQL": '},
        {"_bemi_invalid": '{},"SQL": "e"}'},
    ]


@pytest.mark.parametrize(
    ("message", "operation", "before", "after"),
    [
        (Insert(TABLE, [b"1"]), "CREATE", None, [b"1"]),
        (Update(TABLE, [b"1"], [b"2"]), "UPDATE", [b"1"], [b"2"]),
        (Delete(TABLE, [b"1"]), "DELETE", [b"1"], None),
        (Truncate((TABLE,)), "TRUNCATE", None, None),
    ],
)
def test_each_message_of_rows_is_an_operation(
    message: Decoded, operation: str, before: object, after: object
) -> None:
    stitcher = Stitcher()
    feed(stitcher, Begin(8, 0, 1))
    (change,) = feed(stitcher, message)
    assert (change.operation, change.before, change.after) == (operation, before, after)


def test_a_transaction_lasts_from_begin_to_commit() -> None:
    stitcher = Stitcher()
    begin = Begin(8, 0, 1)
    seen = [stitcher.begin]
    for message in (begin, TABLE, Commit(8, 16)):
        assert feed(stitcher, message) == []
        seen.append(stitcher.begin)
    assert seen == [None, begin, begin, None]


def test_it_says_when_a_context_is_none() -> None:
    stitcher = Stitcher()
    for content, is_invalid in ((b'{"a": 1}', False), (b"[1]", True), (b"{}", False)):
        feed(stitcher, context(content))
        assert stitcher.is_context_invalid is is_invalid


def test_a_row_outside_a_transaction_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"a row of public\.t outside a transaction"):
        feed(Stitcher(), ROW)


def skipping(**values: object) -> Message:
    return context(json.dumps({"_bemi_skip": True, **values}).encode())


def test_rows_that_are_skipped_are_counted_by_table_and_context() -> None:
    other = Relation(2, "public", "u", ())
    stitcher = Stitcher()
    stream: list[Decoded] = [
        Begin(8, 0, 1),
        ROW,
        skipping(reason="a", user=7, SQL="INSERT"),
        ROW,
        ROW,
        Insert(other, []),
        skipping(reason="a", user=7, SQL="UPDATE"),
        Update(TABLE, [], []),
        skipping(reason="b"),
        Truncate((TABLE, other)),
        context(b'{"SQL": "\\"_bemi_skip\\": true", "a": 1}'),
        ROW,
    ]
    recorded = [change for message in stream for change in feed(stitcher, message)]
    assert [(change.ordinal, change.operation) for change in recorded] == [(0, "CREATE"), (7, "CREATE")]
    summaries = feed(stitcher, Commit(8, 16))
    assert [(change.ordinal, change.relation.name, json.loads(change.context)) for change in summaries] == [
        (1, "t", {"reason": "a", "user": 7, "rows": {"CREATE": 2, "UPDATE": 1}}),
        (3, "u", {"reason": "a", "user": 7, "rows": {"CREATE": 1}}),
        (5, "t", {"reason": "b", "rows": {"TRUNCATE": 1}}),
        (6, "u", {"reason": "b", "rows": {"TRUNCATE": 1}}),
    ]
    assert {(change.operation, change.before, change.after) for change in summaries} == {
        ("SKIPPED", None, None)
    }
    feed(stitcher, Begin(24, 0, 2))
    assert [change.operation for change in feed(stitcher, ROW)] == ["CREATE"]
    assert feed(stitcher, Commit(24, 32)) == []


@pytest.mark.parametrize(
    "content",
    [b'{"_bemi_skip": false}', b'{"_bemi_skip": 1}', b'{"a": {"_bemi_skip": true}}', b'["_bemi_skip"]'],
)
def test_only_true_skips(content: bytes) -> None:
    stitcher = Stitcher()
    changes = [
        change for message in (Begin(8, 0, 1), context(content), ROW) for change in feed(stitcher, message)
    ]
    assert [change.operation for change in changes] == ["CREATE"]


def test_a_message_of_a_row_can_be_read_again_and_no_other() -> None:
    place = ChangeHeader(Begin(8, 0, 1), 3, TABLE, b"{}", 9)
    assert read_again(place, pgoutput.change(b"I", TABLE.oid, (b"N", []))) == Stitched(
        place.begin, 3, TABLE, "CREATE", None, [], b"{}", 9
    )
    with pytest.raises(ProtocolError):
        read_again(place, pgoutput.message("_bemi", b"{}"))


def test_counts_need_no_more_memory_the_more_there_are() -> None:
    skipped = Skipped(limit=2)
    change = Stitched(Begin(8, 0, 1), 0, TABLE, "DELETE", [], None, b"")
    told = []
    for number in range(5):
        skipped.follow(json.dumps({"_bemi_skip": True, "n": number}).encode())
        told.append(skipped.sift([change]))
    assert [len(changes) for changes in told] == [0, 2, 0, 2, 0]
    assert [json.loads(change.context)["n"] for change in skipped.take()] == [4]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"not json", "not json"),
        (b"[1]", "[1]"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b'{"a": "\\u0000"}', '{"a": "\\u0000"}'),
        (b'{"a": "\\\\\\u0000"}', '{"a": "\\\\\\u0000"}'),
        (b'{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        (b'{"a": "\x00"}', '{"a": "␀"}'),
        (b"[" * 100_000, "[" * 100_000),
    ],
    ids=[
        "text",
        "array",
        "bytes",
        "NaN",
        "NUL escaped",
        "NUL behind a backslash",
        "half a surrogate pair",
        "NUL",
        "deep",
    ],
)
def test_what_jsonb_would_refuse_is_kept_as_text(content: bytes, kept: str) -> None:
    assert json.loads(storable_json(content)) == {"_bemi_invalid": kept}


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 123456789012345678901234567890.10, "b": "\\ud83d\\ude00 NaN"}',
        b'{"a": "Infinity", "\\uD83D\\uDE00": []}',
        b'{"a": "\\\\u0000 \\\\\\\\u0000"}',
        b"{}",
    ],
)
def test_what_jsonb_takes_is_not_touched(content: bytes) -> None:
    assert storable_json(content) == content


@given(st.binary() | st.text().map(lambda text: json.dumps({"a": text}).encode()))
def test_any_content_becomes_an_object_without_nul_in_utf_8(content: bytes) -> None:
    stored = storable_json(content)
    found: Any = json.loads(stored)
    assert isinstance(found, dict)
    assert "\0" not in json.dumps(found, ensure_ascii=False).encode().decode()
