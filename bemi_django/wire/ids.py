"""The ids of changes: they sort in commit order, and are the same whoever writes the change."""

from __future__ import annotations

import hashlib
from struct import Struct

_ID = Struct(">QQ").pack


def change_id(commit_lsn: int, ordinal: int, source: int) -> bytes:
    """A UUIDv8 (RFC 9562) that sorts in commit order: LSN, ordinal, 30 bits of the source.

    A commit LSN is a multiple of 8, so 60 bits hold it.
    """
    lsn = commit_lsn >> 3
    high = (lsn >> 12) << 16 | 0x8000 | (lsn & 0xFFF)
    return _ID(high, 1 << 63 | ordinal << 30 | source)


def source_of(system_identifier: str, database: str) -> int:
    """The 30 bits of an id that tell one source from another."""
    digest = hashlib.sha256(f"{system_identifier}/{database}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 2
