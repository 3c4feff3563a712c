"""A stitched change to a row of ``changes``, in the binary format of COPY."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from bemi_django.wal.messages import UNCHANGED, Relation, Row
from bemi_django.wal.stitcher import Stitched
from bemi_django.wal.values import Encoder, text

COLUMNS = (
    "id",
    "database",
    "schema",
    "table",
    "primary_key",
    "operation",
    "before",
    "after",
    "context",
    "committed_at",
    "queued_at",
    "transaction_id",
    "position",
)

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

#: From 1970 to 2000, where PostgreSQL's timestamps start.
EPOCH_SECONDS = 946_684_800
_EPOCH = EPOCH_SECONDS * 1_000_000
_LENGTH = Struct(">i").pack
_FIELDS = Struct(">h").pack(len(COLUMNS))
_TAIL = Struct(">iqiqiqiq").pack
_NULL = b"\xff\xff\xff\xff"
_JSONB_VERSION = b"\1"


class Shape(NamedTuple):
    """How the rows of one relation are written: keys and encoders in column order, key columns."""

    head: bytes
    columns: tuple[tuple[bytes, Encoder], ...]
    key: tuple[int, ...]


def change_id(commit_lsn: int, ordinal: int, source: int) -> bytes:
    """A UUIDv8 (RFC 9562) that sorts in commit order: LSN, ordinal, 30 bits of the source.

    A commit LSN is a multiple of 8, so 60 bits hold it.
    """
    lsn = commit_lsn >> 3
    high = (lsn >> 12) << 16 | 0x8000 | (lsn & 0xFFF)
    low = 1 << 63 | ordinal << 30 | source
    return (high << 64 | low).to_bytes(16, "big")


class RowWriter:
    """Renders changes of one source; ``shape_of`` tells what the catalog knows of a relation."""

    def __init__(
        self, system_identifier: str, database: str, xid: int, shape_of: Callable[[Relation], Shape]
    ) -> None:
        digest = hashlib.sha256(f"{system_identifier}/{database}".encode()).digest()
        self._source = int.from_bytes(digest[:4], "big") >> 2
        self._xid = xid
        self._shape_of = shape_of
        self._shapes: dict[int, tuple[Relation, Shape]] = {}

    def row(self, change: Stitched) -> bytes:
        shape = self._shape(change.relation)
        begin = change.begin
        return b"".join(
            (
                _FIELDS,
                b"\0\0\0\x10",
                change_id(begin.commit_lsn, change.ordinal, self._source),
                shape.head,
                _key(shape, change.after or change.before),
                _field(change.operation.encode()),
                _jsonb(_object(shape, change.before)),
                _jsonb(_object(shape, change.after)),
                _jsonb(change.context),
                _TAIL(
                    8,
                    begin.committed_at,
                    8,
                    time.time_ns() // 1000 - _EPOCH,
                    8,
                    self._full_xid(begin.xid),
                    8,
                    begin.commit_lsn,
                ),
            )
        )

    def _shape(self, relation: Relation) -> Shape:
        known = self._shapes.get(relation.oid)
        if known is None or known[0] is not relation:
            known = self._shapes[relation.oid] = relation, self._shape_of(relation)
        return known[1]

    def _full_xid(self, xid: int) -> int:
        # The protocol has the low 32 bits; the true id is the one nearest to an id seen before.
        distance = (xid - self._xid) & 0xFFFFFFFF
        full = self._xid + (distance if distance < 1 << 31 else distance - (1 << 32))
        self._xid = max(self._xid, full)
        return full


def _field(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value


def head(database: str, schema: str, table: str) -> bytes:
    """The fields that all rows of a table share."""
    return b"".join(_field(name.encode()) for name in (database, schema, table))


def _jsonb(value: bytes) -> bytes:
    return _LENGTH(len(value) + 1) + _JSONB_VERSION + value


def _object(shape: Shape, row: Row | None) -> bytes:
    if row is None:
        return b"{}"
    pairs = [
        name + (b"null" if value is None else encode(value))
        for (name, encode), value in zip(shape.columns, row, strict=True)
        if value is not UNCHANGED
    ]
    return b"{" + b",".join(pairs) + b"}"


def _key(shape: Shape, row: Row | None) -> bytes:
    if row is None or not shape.key:
        return _NULL
    values = [None if row[index] is UNCHANGED else row[index] for index in shape.key]
    if len(values) == 1:
        return _NULL if values[0] is None else _field(values[0])
    return _field(b"[" + b", ".join(b"null" if value is None else text(value) for value in values) + b"]")
