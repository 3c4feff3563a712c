"""The binary format of COPY (PostgreSQL docs, COPY, File Formats): fields, and what surrounds the rows."""

from __future__ import annotations

from struct import Struct

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
#: A field without a value.
NULL = b"\xff\xff\xff\xff"

#: Where the id is in the fields of a row of the log: after its length.
ID_AT = slice(4, 20)

_LENGTH = Struct(">i").pack
#: Pack a field, after its size, where a function of its own would take as long as the packing: a uuid as two
#: numbers, a bigint, and the version of jsonb, which counts as the first byte of the text behind it.
ID_SIZE, PACK_ID = 16, Struct(">iQQ").pack
INT64_SIZE, PACK_INT64 = 8, Struct(">iq").pack
JSONB_VERSION, PACK_JSONB = 1, Struct(">ib").pack


def field(value: bytes) -> bytes:
    """Return a field that holds a text, or a value that is in its type's binary format already."""
    return _LENGTH(len(value)) + value


def field_or_null(value: bytes | None) -> bytes:
    """Return a field that holds a text, or NULL for None."""
    return NULL if value is None else field(value)


def int64(value: int) -> bytes:
    """Return a field that holds a bigint, or a timestamp in microseconds since 2000-01-01 UTC."""
    return PACK_INT64(INT64_SIZE, value)


def jsonb(value: bytes) -> bytes:
    """Return a field that holds a jsonb, given as JSON text."""
    return PACK_JSONB(len(value) + 1, JSONB_VERSION) + value


def jsonb_head(size: int) -> bytes:
    """Return what stands in front of a JSON text of ``size`` bytes in a field that holds a jsonb."""
    return PACK_JSONB(size + 1, JSONB_VERSION)
