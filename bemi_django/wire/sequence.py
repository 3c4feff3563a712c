"""Sequence numbers: a history and a position in its WAL as one number that sorts as commits do.

Positions (LSNs) come again: on a server that a dump was restored into, and after a promotion that lost the
end of the WAL. Each such branch of the WAL is a history of its own, with a number above those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: Bits of a position: a history may hold 2 PB of WAL.
_LSN_BITS = 51
#: The largest position that a sequence number can hold.
MAX_LSN = (1 << _LSN_BITS) - 1
#: Histories of one log, 12 bits.
MAX_HISTORY = (1 << 12) - 1


def sequence_of(history: int, lsn: int) -> int:
    """Return the sequence number of a position.

    Args:
        history: Number of the history, 0 to :data:`MAX_HISTORY`.
        lsn: Position in the history's WAL, in bytes, below 2**51.

    Returns:
        A number of 63 bits. In history 0 it is the position itself.

    Raises:
        ValueError: The history or the position is out of range.
    """
    if not 0 <= history <= MAX_HISTORY or not 0 <= lsn <= MAX_LSN:
        raise ValueError(f"position {lsn} of history {history} is out of range")
    return history << _LSN_BITS | lsn


class HistoryStart(NamedTuple):
    """A history: its number, and the position in bytes from which commits belong to it."""

    number: int
    lsn: int


#: The history of a log that has followed one branch only.
FIRST_HISTORY = HistoryStart(0, 0)


def sequence_at(histories: Sequence[HistoryStart], lsn: int) -> int:
    """Return the sequence number of a position in the latest history that had begun there.

    Args:
        histories: The histories of a log, the oldest first.
        lsn: Position in bytes.
    """
    # Executed for each transaction: a generator takes several times as long.
    for history in reversed(histories):
        if history.lsn <= lsn:
            return sequence_of(history.number, lsn)
    return sequence_of(histories[0].number, lsn)


def history_of(sequence: int) -> int:
    """Return the number of the history that a sequence number belongs to."""
    return sequence >> _LSN_BITS


def lsn_of(sequence: int) -> int:
    """Return the position, in bytes, that a sequence number holds."""
    return sequence & MAX_LSN
