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
from bemi_django.ingest.stitching import stitcher as stitching
from bemi_django.ingest.stitching.skipped import Skipped
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, read_again
from bemi_django.ingest.stitching.stitcher import Stitcher
from bemi_django.ingest.stitching.validation import storable_json
from bemi_django.masking.contexts import ContextMasks
from bemi_django.masking.rules import DEFAULT
from tests.support import pgoutput
from tests.support.stitching import feed
from tests.support.stitching import stitcher as new_stitcher

TABLE = Relation(1, "public", "t", ())
ROW = Insert(TABLE, [])


def context(content: bytes) -> Message:
    return Message(0, b"_bemi", content)


def test_a_message_holds_until_the_next_one_of_the_transaction() -> None:
    stitcher = new_stitcher()
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


def test_an_event_without_a_row_has_a_number_of_its_own() -> None:
    stitcher = new_stitcher()
    (first,) = feed(stitcher, Begin(8, 0, 1)) or feed(stitcher, ROW)
    assert stitcher.pass_over() == 1
    (second,) = feed(stitcher, ROW)
    assert (first.ordinal, second.ordinal) == (0, 2)


def test_a_message_may_hold_only_what_is_new() -> None:
    stitcher = new_stitcher()
    messages = [
        b'1{"user": 7,"SQL": "a"}',
        b'1+"b"}',
        # Only a name that is followed by its value: in a string its quotes are escaped.
        b'1{"note": ",\\"SQL\\": ","SQL": "c"}',
        b'1+"d"}',
        # Of a client that knows half of it.
        b"1+",
        b'+"e"}',
    ]
    stream: list[Decoded] = [
        Begin(8, 0, 1),
        *(part for content in messages for part in (context(content), ROW)),
    ]
    stream += [Commit(8, 16), Begin(24, 0, 2), context(b'1+"e"}'), ROW]
    changes = [change for message in stream for change in feed(stitcher, message)]
    assert [json.loads(change.context) for change in changes] == [
        {"user": 7, "SQL": "a"},
        {"user": 7, "SQL": "b"},
        {"note": ',"SQL": ', "SQL": "c"},
        {"note": ',"SQL": ', "SQL": "d"},
        {"_bemi_invalid": '{"note": ",\\"SQL\\": ","SQL": '},
        {"_bemi_invalid": '+"e"}'},
        {"_bemi_invalid": '{},"SQL": "e"}'},
    ]


OTHER, CHILD = Relation(2, "public", "u", ()), Relation(3, "public", "child", ())


def contexts_of(*steps: bytes | Relation) -> list[bytes]:
    """Return the contexts that rows of tables get, behind messages; the child belongs to the table 1."""
    stitcher = Stitcher(lambda header: {1, 3} if header.relation is CHILD else {header.relation.oid})
    feed(stitcher, Begin(8, 0, 1))
    found = []
    for step in steps:
        message = Insert(step, []) if isinstance(step, Relation) else context(step)
        found += [change.context for change in feed(stitcher, message)]
    return found


def test_a_context_applies_to_the_tables_that_are_named_for_it() -> None:
    a, b = b'{"n": 1}', b'{"n": 2}'
    assert contexts_of(b"1" + a, TABLE, OTHER, CHILD) == [a, b"{}", a]
    assert contexts_of(b"1" + a, b"2", TABLE, OTHER) == [a, a]
    assert contexts_of(b"1" + a, TABLE, b"2" + b, OTHER, TABLE, CHILD) == [a, b, b"{}", b"{}"]
    assert contexts_of(b"3" + a, CHILD, TABLE) == [a, b"{}"]
    assert contexts_of(b'1{"SQL": 1,"SQL": 2}', b"1+3}", TABLE, OTHER) == [b'{"SQL": 1,"SQL": 3}', b"{}"]


def test_many_short_messages_under_a_large_context_are_put_together_for_rows_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[bytes] = []

    def counted(content: bytes) -> bytes:
        read.append(content)
        return storable_json(content)

    monkeypatch.setattr(stitching, "storable_json", counted)
    large = b'1{"user": "' + b"x" * 70_000 + b'","SQL": "a"}'
    rows = contexts_of(large, b'1+"b"}', TABLE, b'1+"c"}', b"1", b'1+"d"}', b"2", OTHER, TABLE, CHILD)
    assert [json.loads(row)["SQL"] for row in rows] == ["b", "d", "d", "d"]
    assert len(read) == 3
    assert contexts_of(large, b'1+"b"}', b'{"n": 1}', TABLE) == [b'{"n": 1}']
    skip = large.replace(b'"user"', b'"_bemi_skip": true,"user"')
    assert contexts_of(skip, b'1+"b"}', TABLE) == []


def test_anybody_may_name_any_number_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stitching, "_MOST_NAMED", 2)
    assert contexts_of(b'1{"n": 1}', b"5", b"2", TABLE, OTHER) == [b'{"n": 1}', b"{}"]


def test_a_message_that_names_no_table_applies_to_all_until_the_next_one() -> None:
    a, b = b'{"n": 1}', b'{"n": 2}'
    assert contexts_of(b"1" + a, b, TABLE, OTHER, CHILD) == [b, b, b]
    # The trigger goes on from its own message.
    assert contexts_of(b"1" + a, b, b"2", TABLE, OTHER) == [a, a]


def test_rows_of_a_table_that_was_not_named_are_not_skipped() -> None:
    skip = b'1{"_bemi_skip": true}'
    assert contexts_of(skip, TABLE, OTHER, CHILD) == [b"{}"]


def test_literals_go_as_soon_as_the_statement_is_known_to_touch_what_is_masked() -> None:
    """The trigger of a second table may be the first that tells."""
    masks = ContextMasks(DEFAULT)
    stitcher = Stitcher(lambda header: {header.relation.oid}, masks=masks, is_masked={2}.__contains__)
    feed(stitcher, Begin(8, 0, 1))
    found = []
    for step in (
        context(b'1{"SQL": "UPDATE v SET a = 5"}'),
        Insert(TABLE, []),
        context(b"2"),
        Insert(OTHER, []),
    ):
        found += [json.loads(change.context)["SQL"] for change in feed(stitcher, step)]
    assert found == ["UPDATE v SET a = 5", "UPDATE v SET a = ***"]
    assert stitcher.is_touching
    # Also of one that waits for a row.
    for content in (
        b'1{"a": "' + b"x" * 70_000 + b'","SQL": "UPDATE v SET a = 6"}',
        b'1+"UPDATE v SET a = 7"}',
        b"2",
    ):
        feed(stitcher, context(content))
    assert stitcher.claim(TABLE, 0, frozenset()).context == b"{}" and stitcher.waiting is not None
    assert json.loads(stitcher.claim(TABLE, 0, {1}).context)["SQL"] == "UPDATE v SET a = ***"


def test_only_a_context_is_reported_as_invalid_and_once() -> None:
    stitcher = new_stitcher()
    for content, is_invalid in ((b"1[1]", True), (b"2", False), (b"1{}", False), (b"[", True)):
        stitcher.follow(content)
        assert stitcher.is_context_invalid is is_invalid


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
    stitcher = new_stitcher()
    feed(stitcher, Begin(8, 0, 1))
    (change,) = feed(stitcher, message)
    assert (change.operation, change.before, change.after) == (operation, before, after)


def test_a_transaction_lasts_from_begin_to_commit() -> None:
    stitcher = new_stitcher()
    begin = Begin(8, 0, 1)
    seen = [stitcher.begin]
    for message in (begin, TABLE, Commit(8, 16)):
        assert feed(stitcher, message) == []
        seen.append(stitcher.begin)
    assert seen == [None, begin, begin, None]


def test_it_says_when_a_context_is_none() -> None:
    stitcher = new_stitcher()
    for content, is_invalid in ((b'{"a": 1}', False), (b"[1]", True), (b"{}", False)):
        feed(stitcher, context(content))
        assert stitcher.is_context_invalid is is_invalid


def test_a_row_outside_a_transaction_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"a row of public\.t outside a transaction"):
        feed(new_stitcher(), ROW)


def skipping(**values: object) -> Message:
    return context(json.dumps({"_bemi_skip": True, **values}).encode())


def test_rows_that_are_skipped_are_counted_by_table_and_context() -> None:
    other = Relation(2, "public", "u", ())
    stitcher = new_stitcher()
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
    stitcher = new_stitcher()
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
        context = json.dumps({"_bemi_skip": True, "n": number}).encode()
        skipped.follow(context)
        told.append(skipped.sift([change._replace(context=context)]))
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
