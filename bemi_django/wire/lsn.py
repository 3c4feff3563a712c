"""Positions in the write-ahead log (LSNs): integers in Python, ``16/B374D848`` in PostgreSQL."""

from __future__ import annotations


def format_lsn(lsn: int) -> str:
    """Return a position as PostgreSQL writes it.

    Args:
        lsn: Position in bytes from the start of the WAL.

    Returns:
        The text form of ``pg_lsn``, for example ``"16/B374D848"``.
    """
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Return the position that a text form stands for.

    Args:
        text: A position as PostgreSQL writes it, for example ``"16/B374D848"``.

    Returns:
        The position in bytes from the start of the WAL.

    Raises:
        ValueError: The text is not a position.
    """
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)
