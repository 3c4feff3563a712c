"""Ids of changes. They sort in commit order and are the same whichever worker writes a change."""

from __future__ import annotations

import hashlib
from struct import Struct

_ID = Struct(">QQ").pack


def change_id(commit_lsn: int, ordinal: int, source: int) -> bytes:
    """Return the id of a change: a UUIDv8 (RFC 9562) that sorts in commit order.

    Args:
        commit_lsn: LSN of the commit record. It is a multiple of 8, so its upper 60 bits are kept.
        ordinal: Number of the change in its transaction, 32 bits.
        source: Number of the source database, 30 bits, from :func:`source_of`.

    Returns:
        The 16 bytes of the UUID.
    """
    lsn = commit_lsn >> 3
    high = (lsn >> 12) << 16 | 0x8000 | (lsn & 0xFFF)
    return _ID(high, 1 << 63 | ordinal << 30 | source)


def source_of(system_identifier: str, database: str) -> int:
    """Return the number that tells one source database from another in the ids of changes.

    Args:
        system_identifier: The server's, as ``pg_control_system()`` reports it.
        database: Name of the database.

    Returns:
        A hash of 30 bits.
    """
    digest = hashlib.sha256(f"{system_identifier}/{database}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 2
