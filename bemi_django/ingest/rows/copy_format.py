"""The binary format of COPY (PostgreSQL docs, COPY, File Formats): fields, and what stands around rows."""

from __future__ import annotations

from struct import Struct

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
#: A field without a value.
NULL = b"\xff\xff\xff\xff"

_LENGTH = Struct(">i").pack
_INT64 = Struct(">iq").pack
_JSONB = Struct(">ib").pack
_JSONB_VERSION = 1


def field(value: bytes) -> bytes:
    """A text, or anything else in its own binary format."""
    return _LENGTH(len(value)) + value


def int64(value: int) -> bytes:
    """A bigint, or a timestamp in microseconds since 2000."""
    return _INT64(8, value)


def jsonb(value: bytes) -> bytes:
    """A jsonb of its text."""
    return _JSONB(len(value) + 1, _JSONB_VERSION) + value
