"""Lanes: parts of a queue in which the changes of a row stay in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bemi_django.wire.sequence import HistoryStart, history_of, lsn_of


class LanePosition(NamedTuple):
    """How far a lane has come: everything before the change with this ordinal in this transaction.

    Attributes:
        sequence: The sequence number of the transaction (see :mod:`bemi_django.wire.sequence`).
        ordinal: The number of the change in it.
    """

    sequence: int
    ordinal: int = 0


def is_of_lost_wal(position: LanePosition, histories: Sequence[HistoryStart]) -> bool:
    """Return whether a position comes after the place at which a later history has left its history.

    Changes before such a position need not be there any more: the server has others in their place.

    Args:
        position: Where a lane is, or a chunk ends.
        histories: The histories of the log.
    """
    sequence, ordinal = position
    # In the middle of a transaction, the sequence number is where it commits.
    end = lsn_of(sequence) + (ordinal > 0)
    return any(history.lsn < end for history in histories if history.number > history_of(sequence))


def shared_lsn(sequence: int, histories: Sequence[HistoryStart]) -> int:
    """Return up to where the WAL before a sequence number is the WAL of the latest history, too, in bytes."""
    left_at = (history.lsn for history in histories if history.number > history_of(sequence))
    return min([lsn_of(sequence), *left_at])
