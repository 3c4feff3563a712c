"""Timeouts and back-off intervals used by the worker."""

from __future__ import annotations

from typing import NamedTuple


class Timeouts(NamedTuple):
    """All in seconds."""

    #: The pause before the first attempt after a failure; each further pause is twice as long.
    first_pause: float = 0.5
    #: The longest of these pauses.
    longest_pause: float = 30.0
    #: A session that lasted this long was healthy: the next failure starts with the first pause again.
    good: float = 60.0
    #: The interval at which a standby looks at the slot.
    standby: float = 1.0
    #: How long a run with ``until_current`` retries temporary errors.
    patience: float = 30.0
    #: How long a run with ``until_current`` waits without any progress.
    stall: float = 300.0
    #: The interval at which an idle worker looks at how far its slot is behind.
    idle: float = 10.0
    #: How long the worker and the server hear nothing of each other before they give the stream up.
    silence: float = 60.0
    #: How long a statement waits for a lock in the destination.
    lock: float = 10.0
    #: How long a statement may take before the server is asked, over another connection, what it does. If
    #: twice in a row it does nothing, or if it cannot be asked, its connection is given up.
    answer: float = 15.0
    #: How long a worker that was told to stop may take to finish its batch.
    grace: float = 5.0

    @property
    def of_log(self) -> tuple[float, float]:
        """The waits of a connection to the database of the log: for locks, and for an answer."""
        return self.lock, self.answer
