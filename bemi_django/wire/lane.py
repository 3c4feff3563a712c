"""Lanes: parts of a queue in which the changes of a row stay in order."""

from __future__ import annotations

from typing import NamedTuple


class LanePosition(NamedTuple):
    """How far a lane has come: everything before the change with this ordinal in this transaction.

    Attributes:
        sequence: The sequence number of the transaction (see :mod:`bemi_django.wire.sequence`).
        ordinal: The number of the change in it.
    """

    sequence: int
    ordinal: int = 0
