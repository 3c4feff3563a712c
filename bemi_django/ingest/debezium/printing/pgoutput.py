"""Encode changes as the bytes of the pgoutput protocol, version 1 (PostgreSQL docs, 55.9)."""

from __future__ import annotations

from struct import Struct

from bemi_django.ingest.protocol.byte_layout import (
    KIND_AND_LENGTH,
    NEW_ROW,
    NULL_VALUE,
    OLD_KEY,
    OLD_ROW,
    TEXT_VALUE,
    UNCHANGED_VALUE,
)
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Begin, Relation, Row

_BEGIN = Struct(">cQqI").pack
_COMMIT = Struct(">cBQQq").pack
_ROW = Struct(">cI").pack
_COUNT = Struct(">H").pack
_COLUMN = Struct(">Ii").pack
_MESSAGE = Struct(">cBQ").pack
_LENGTH = Struct(">I").pack
_TRUNCATE = Struct(">cIBI").pack
_NULL, _UNCHANGED = bytes([NULL_VALUE]), bytes([UNCHANGED_VALUE])


def begin(message: Begin) -> bytes:
    """Return the beginning of a transaction."""
    return _BEGIN(b"B", *message)


def commit(message: Begin, end_lsn: int) -> bytes:
    """Return the end of a transaction, by its beginning."""
    return _COMMIT(b"C", 0, message.commit_lsn, end_lsn, message.committed_at)


def relation(table: Relation) -> bytes:
    """Return the description of a table."""
    parts = [
        _ROW(b"R", table.oid),
        *(name.encode() + b"\0" for name in (table.schema, table.name)),
        b"d",
        _COUNT(len(table.columns)),
    ]
    for column in table.columns:
        flags = b"\1" if column.in_identity else b"\0"
        parts += flags, column.name.encode() + b"\0", _COLUMN(column.type_oid, -1)
    return b"".join(parts)


def insert(oid: int, after: Row) -> bytes:
    """Return the insertion of a row."""
    return _ROW(b"I", oid) + NEW_ROW + _tuple(after)


def update(oid: int, before: Row | None, after: Row, *, is_whole: bool) -> bytes:
    """Return the update of a row.

    Args:
        oid: The table.
        before: The old row, if it was sent.
        after: The new row.
        is_whole: Whether all of the old row was sent, and not its identity only.
    """
    old = b"" if before is None else (OLD_ROW if is_whole else OLD_KEY) + _tuple(before)
    return _ROW(b"U", oid) + old + NEW_ROW + _tuple(after)


def delete(oid: int, before: Row, *, is_whole: bool) -> bytes:
    """Return the deletion of a row; see :func:`update`."""
    return _ROW(b"D", oid) + (OLD_ROW if is_whole else OLD_KEY) + _tuple(before)


def truncate(oid: int) -> bytes:
    """Return that a table was emptied."""
    return _TRUNCATE(b"T", 1, 0, oid)


def message(lsn: int, prefix: bytes, content: bytes, *, is_transactional: bool) -> bytes:
    """Return a logical message."""
    return _MESSAGE(b"M", is_transactional, lsn) + prefix + b"\0" + _LENGTH(len(content)) + content


def _tuple(row: Row) -> bytes:
    parts = [_COUNT(len(row))]
    for value in row:
        if value is None:
            parts.append(_NULL)
        elif value is UNAVAILABLE:
            parts.append(_UNCHANGED)
        else:
            parts += KIND_AND_LENGTH.pack(TEXT_VALUE, len(value)), value
    return b"".join(parts)
