"""Positions in the WAL: integers here, ``16/B374D848`` for PostgreSQL and for people."""

from __future__ import annotations


def format_lsn(lsn: int) -> str:
    """The text form of a position in bytes."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """The position of a text form. Raises ValueError for anything else."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)
