"""Byte layouts that the decoder and the fast path share (PostgreSQL docs, 55.9)."""

from __future__ import annotations

from struct import Struct

#: The kind of a column's value and, for a text, its length.
KIND_AND_LENGTH = Struct(">BI")
#: Append it to a message before reading columns: a NULL at its end has no length to read.
PADDING = bytes(4)

#: Kinds of a column's value.
TEXT_VALUE, NULL_VALUE, UNCHANGED_VALUE = b"tnu"

#: Marks before a row: all of the old one, its replica identity only, the new one.
OLD_ROW, OLD_KEY, NEW_ROW = b"O", b"K", b"N"

#: Offsets of a row message: the table's oid, the mark of the first row, and that row.
OID_AT, MARK_AT, ROW_AT = 1, 5, 6
#: What stands before the first row of such a message: its kind, the table's oid, and the mark.
ROW_HEAD = Struct(">cIc")

#: Offset of a logical message's prefix: after the kind, the flags and the LSN.
PREFIX_AT = 10


def logical_content(data: bytes, prefix: bytes) -> bytes | None:
    """Return the content of a logical message, or None if it has another prefix or is incomplete.

    Args:
        data: A message of kind ``M``.
        prefix: The prefix with the NUL that ends it.
    """
    end = PREFIX_AT + len(prefix)
    if data[PREFIX_AT:end] != prefix:
        return None
    start = end + 4
    if len(data) - start != int.from_bytes(data[end:start], "big"):
        return None
    return data[start:]
