"""Intervals and batch sizes of the loop that calls handlers."""

from __future__ import annotations

from typing import NamedTuple


class Rhythm(NamedTuple):
    """Durations are in seconds."""

    #: Pause before the second attempt; each further pause is twice as long.
    first_pause: float = 1.0
    longest_pause: float = 300.0
    #: Interval between two looks at the checkpoint, which read one row by its key.
    look: float = 0.1
    #: Duration after which a transaction begins no other change.
    slice: float = 0.2
    #: Maximum number of changes in one transaction.
    batch: int = 100
    #: Minimum interval between two saved bookmarks of a handler that has found nothing.
    note: float = 10.0
    #: Interval between two looks for handlers that people have added or removed.
    renew: float = 5.0
    #: Time that a running handler gets to finish after the process was told to stop.
    grace: float = 5.0
