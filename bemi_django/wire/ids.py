"""Ids of changes. They sort in commit order and are the same whichever worker writes a change."""

from __future__ import annotations

import hashlib
from struct import Struct

#: Bits of the source's number, which stand behind the ordinal in an id.
ORDINAL_SHIFT = 30
_SOURCE = (1 << ORDINAL_SHIFT) - 1
_ID = Struct(">QQ").pack


def change_id(sequence: int, ordinal: int, source: int) -> bytes:
    """Return the id of a change: a UUIDv8 (RFC 9562) that sorts in commit order.

    Args:
        sequence: The commit's sequence number (see :mod:`bemi_django.wire.sequence`). An LSN is a multiple of
            8, so the upper 60 of its 63 bits are kept.
        ordinal: Number of the change in its transaction, 32 bits.
        source: Number of the source database, 30 bits, from :func:`source_of`.

    Returns:
        The 16 bytes of the UUID.
    """
    high, low = halves_of_id(sequence, source)
    return _ID(high, low | ordinal << ORDINAL_SHIFT)


def halves_of_id(sequence: int, source: int) -> tuple[int, int]:
    """Return the halves of the id of a transaction's first change, as numbers of 64 bits.

    The second half of another one also has its ordinal, shifted by :data:`ORDINAL_SHIFT`.
    """
    kept = sequence >> 3
    return (kept >> 12) << 16 | 0x8000 | (kept & 0xFFF), 1 << 63 | source


def first_id(identifier: bytes) -> bytes:
    """Return the id of the first change of the transaction that a change, by its id, is of."""
    return _ID(int.from_bytes(identifier[:8], "big"), 1 << 63 | source_in(identifier))


def sequence_in(identifier: bytes) -> int:
    """Return the sequence number that the id of a change, 16 bytes, is made of."""
    high = int.from_bytes(identifier[:8], "big")
    return ((high >> 16) << 12 | (high & 0xFFF)) << 3


def ordinal_in(identifier: bytes) -> int:
    """Return the number of a change in its transaction that its id, 16 bytes, holds."""
    return int.from_bytes(identifier[8:], "big") >> ORDINAL_SHIFT & 0xFFFFFFFF


def source_in(identifier: bytes) -> int:
    """Return the number of the source that the id of a change, 16 bytes, holds."""
    return int.from_bytes(identifier[8:], "big") & _SOURCE


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
