"""How long the worker waits for what."""

from __future__ import annotations

from typing import NamedTuple


class Timeouts(NamedTuple):
    """Seconds."""

    #: Before the first attempt after a failure; each further pause is twice as long.
    first_pause: float = 0.5
    longest_pause: float = 30.0
    #: A session that lived so long was a good one: the next failure is a new one.
    good: float = 60.0
    #: Between two looks of a standby at the slot.
    standby: float = 1.0
    #: After which a run that is to end gives up on what may pass.
    patience: float = 30.0
    #: Between two looks at how far the slot of an idle worker is behind.
    idle: float = 10.0
    #: After which a server that says nothing is taken for gone, by the worker and by the server itself.
    silence: float = 60.0
    #: That a statement waits for a lock in the destination.
    lock: float = 10.0
    #: That a batch has to end once the worker was told to stop.
    grace: float = 5.0
