"""Whatever a stream holds, each message becomes rows or one of the errors that the worker expects."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Begin, Column, Decoded, Message, Relation, Row
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.fast_path import FastPath
from bemi_django.ingest.rows.rendering import Lost
from bemi_django.ingest.rows.row_layout import RowLayout, head, template, with_reader
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.rows.values import Array, Castable, Composite, Domain, Type, encoder
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched
from bemi_django.ingest.stitching.stitcher import Stitcher
from bemi_django.ingest.stitching.validation import MAX_BYTES, MAX_DEPTH, storable_json
from tests.support import pgoutput
from tests.support.copied import read
from tests.support.hostile import hostile_context
from tests.support.stitching import stitcher as new_stitcher

contexts = st.binary() | st.integers(0, 2**32).map(lambda seed: hostile_context(Random(seed)))


def depth_of(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(depth_of, parts), default=0) + isinstance(value, (dict, list))


@given(contexts)
@example(b'{"_bemi_skip":true,"a":' + b"[" * 1_010 + b"]" * 1_010 + b"}")
@example(b'{"a": [' + b"[]," * 10_000 + b"1]}")
@example(b'{"_bemi_skip": true, "n": ' + b"7" * 5_000 + b"}")
def test_of_any_context_an_object_within_limits_is_stored(content: bytes) -> None:
    stored = storable_json(content)
    assert stored is content or stored.startswith(b'{"_bemi_invalid": ')
    found = json.loads(stored.decode())
    assert isinstance(found, dict)
    json.dumps(found, allow_nan=False)
    assert depth_of(found) <= MAX_DEPTH
    json.dumps(found, ensure_ascii=False).encode()
    assert b"\0" not in stored


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["]",'], ids=repr)
def test_a_context_may_be_nested_to_a_limit(opening: bytes) -> None:
    closing = b"}" if opening[:1] == b"{" else b"]"
    for depth, is_stored in ((MAX_DEPTH - 1, True), (MAX_DEPTH, False), (1_000_000, False)):
        content = b'{"a":' + opening * depth + b"1" + closing * depth + b"}"
        assert (storable_json(content) is content) is is_stored


def test_a_context_may_be_large_to_a_limit_and_of_a_larger_one_the_beginning_is_kept() -> None:
    largest = b'{"a":"' + b"x" * (MAX_BYTES - 8) + b'"}'
    assert storable_json(largest) is largest
    kept = json.loads(storable_json(largest + b" "))["_bemi_invalid"]
    assert kept.startswith('{"a":"xx') and kept.endswith("… (cut)") and len(kept) < MAX_BYTES / 10


def test_counts_of_what_is_skipped_copy_numbers_as_they_are_written() -> None:
    number = b"7" * 4_000
    stitcher = new_stitcher()
    decoder = Decoder()
    for data in (begin(8), pgoutput.relation(TABLES[0], "public")):
        stitcher.feed(decoder.decode(data) or TABLES[0])
    stitcher.follow(b'{"_bemi_skip": true, "n": [' + number + b", 1.50, 1e300]}")
    assert stitcher.feed(decoder.decode(insert(TABLES[0], [None] * 3)) or TABLES[0]) == []
    (summary,) = stitcher.feed(decoder.decode(b"C" + struct.pack(">BQQq", 0, 8, 16, 1)) or TABLES[0])
    assert summary.context == b'{"n":[' + number + b',1.50,1e300],"rows":{"CREATE":1}}'


TYPES: dict[int, Type] = {
    50_000: Array(25, ","),
    50_001: Composite((("a", 23), ("b", 50_000))),
    50_002: Domain(50_001),
    50_003: Array(50_001, ","),
    50_004: Castable(50_004, 60_000),
}
OIDS = [16, 20, 22, 25, 114, 701, 1114, 1184, 1700, 3802, 99_999, *TYPES]
TABLES = [
    Relation(
        oid,
        "public",
        f"t{oid}",
        tuple(Column(f"c{n}", type_, True) for n, type_ in enumerate(OIDS[at : at + 3])),
    )
    for oid, at in ((7, 0), (8, 4), (9, 11))
]


def begin(lsn: int) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, 0, 1)


def insert(table: Relation, row: Row) -> bytes:
    return pgoutput.change(b"I", table.oid, (b"N", row))


def cast(type_: Castable, value: bytes) -> bytes:
    if value[:1] == b"x":
        raise ValueError
    return b"{}"


def layouts(change: ChangeHeader | Stitched) -> Iterator[RowLayout]:
    columns = change.relation.columns
    names = tuple(column.name for column in columns)
    encoders = tuple(encoder(column.type_oid, TYPES, cast) for column in columns)
    key = tuple(range(min(len(columns), change.relation.oid % 3)))
    layout = RowLayout(head("db", "public", "t"), names, template(names), encoders, key)
    yield with_reader(layout._replace(named_by=frozenset({change.relation.oid, 7})))


values = st.none() | st.just(UNAVAILABLE) | st.binary(max_size=12) | st.sampled_from(
    [b"{1,2}", b'(1,"{a,b}")', b'{"(1,)"}', b"[" * 2_000, b"7" * 5_000, b'{"a": [1]}', b"t", b"2026-01-01"]
)  # fmt: skip
rows = st.lists(values, min_size=2, max_size=4)
marks = st.sampled_from([b"N", b"O", b"K", b"?"])
sent = st.one_of(
    st.builds(begin, st.integers(0, 2**40)),
    st.just(b"C" + struct.pack(">BQQq", 0, 8, 16, 1)),
    st.sampled_from(TABLES).map(lambda table: pgoutput.relation(table, "public")),
    st.builds(
        lambda table, content: pgoutput.message("_bemi", table + content),
        st.sampled_from([b"", b"7", b"8", b"9", b"-7", b"77777777777", b"7" * 5_000]),
        contexts,
    ),
    st.builds(
        lambda kind, table, pairs: pgoutput.change(kind, table.oid, *pairs),
        st.sampled_from([b"I", b"U", b"D"]),
        st.sampled_from(TABLES),
        st.lists(st.tuples(marks, rows), min_size=1, max_size=2),
    ),
    st.just(b"T" + struct.pack(">IBII", 2, 1, 7, 8)),
    st.binary(max_size=30),
)
damaged = st.builds(
    lambda data, at, more: data[:at] + more + data[at + 1 :], sent, st.integers(0, 60), st.binary(max_size=3)
)


class Worker:
    """The way of a message through the worker, without its databases."""

    def __init__(self) -> None:
        self.decoder = Decoder()
        self.writer = RowWriter(ChangeIds("1", "db", 5 << 32), layouts)
        self.stitcher = Stitcher(self.writer.named_by)
        self.fast_path = FastPath(self.decoder, self.stitcher, self.writer)

    def take(self, data: bytes) -> list[bytes]:
        if data[:1] in (b"I", b"U", b"D"):
            taken = self.fast_path.take(data, 8)
            if taken is not None:
                return [taken[0]]
        elif data[:1] == b"M" and self.fast_path.follow(data):
            return []
        return [row for row in map(self.row, self.feed(self.decode(data))) if row is not None]

    def decode(self, data: bytes) -> Decoded:
        try:
            return self.decoder.decode(data) or Message(0, b"", b"")
        except ProtocolError:
            outline = self.decoder.outline(data)
            if outline is None:
                raise
            return outline

    def feed(self, message: Decoded) -> list[Stitched]:
        if isinstance(message, Begin):
            Transactions.require_plausible(message)
        return self.stitcher.feed(message, 8)

    def row(self, change: Stitched) -> bytes | None:
        try:
            return self.writer.row(change)
        except (ValueError, LookupError):
            pass
        try:
            lost, _ = self.writer.salvage(change, lambda json: True)
        except ValueError:
            # The row has another number of columns than its table: none of its values has a name.
            assert len(change.before or change.after or ()) != len(change.relation.columns)
            return None
        return self.writer.row(change, Lost(lost.before, lost.after))


@example([b"B\x01" + bytes(19), b"T" + struct.pack(">IBII", 2, 1, 7, 8)])
@given(st.lists(sent | damaged, max_size=12))
def test_any_message_becomes_rows_or_a_protocol_error(messages: list[bytes]) -> None:
    worker = Worker()
    for data in [begin(8), *(pgoutput.relation(table, "public") for table in TABLES), *messages]:
        try:
            written = worker.take(data)
        except ProtocolError:
            continue
        for row in written:
            assert isinstance(json.loads((read(row)["context"] or b"")[1:].decode(), parse_int=float), dict)
