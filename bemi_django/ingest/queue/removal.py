"""Remove from a queue what is in the log, beside the writing of it."""

from __future__ import annotations

import time
from concurrent.futures import Future, wait

from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.lane_locks import Lane

#: Seconds between two looks at what is kept.
_LONGEST = 60.0


class Removal:
    """Removes the messages of lanes; what the queue does not remove now, is removed later.

    Args:
        broker: The connection to the queue.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._running: dict[Lane, tuple[int, Future[None]]] = {}
        self._done: dict[Lane, int] = {}
        #: What is kept for some time is looked at again from time to time.
        self._interval = min(max(broker.address.keep / 20, 1.0), _LONGEST)
        self._again_at: dict[Lane, float] = {}

    def begin(self, lane: Lane, message: int) -> None:
        """Begin to remove the messages of a lane up to this one, unless that is being done."""
        if lane in self._running:
            number, running = self._running[lane]
            if not running.done():
                return
            if running.exception() is None:
                self._done[lane] = number
        if self._broker.address.keep:
            if time.monotonic() < self._again_at.get(lane, 0.0):
                return
            self._again_at[lane] = time.monotonic() + self._interval
            self._done.pop(lane, None)
        if message > self._done.get(lane, 0):
            self._running[lane] = message, self._broker.forget(*lane, before=message + 1)

    def settle(self) -> None:
        """Wait for what has begun."""
        wait([running for _, running in self._running.values()])
