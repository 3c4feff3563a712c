"""Remove from a queue what is in the log, beside the writing of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import closing
from typing import Any

import psycopg2

from bemi_django.exceptions import BemiError, first_line
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.lane_locks import Lane
from bemi_django.ingest.queue.server.numbering import Numbering

logger = logging.getLogger(__name__)

#: Seconds between two looks at what is kept.
_LONGEST = 60.0
#: Seconds between two looks at another destination, and after one that failed.
_LOOK, _RETRY = 1.0, 2.0
# The numbers of another stream are of other messages.
_WRITTEN = "SELECT slot, lane, message FROM _bemi.lanes WHERE stream = %s"


class OtherDestination:
    """Tells how far another destination has come with the messages of each lane, in a thread of its own.

    One that cannot be reached is where it was last seen.

    Args:
        name: Its name, for messages.
        ask: Returns its parameters of libpq.
        stream: The identity of the stream.
    """

    def __init__(self, name: str, ask: Callable[[], dict[str, Any]], stream: str) -> None:
        self._name, self._ask, self._stream = name, ask, stream
        self._written: Mapping[Lane, int] = {}
        self._is_over = threading.Event()
        # It may wait for a server that does not answer, which is nothing to wait for at the end.
        threading.Thread(target=self._watch, name=f"bemi-{name}", daemon=True).start()

    def written(self, lane: Lane) -> int:
        """Return the number of the last message of a lane that it has; 0 if it has none."""
        return self._written.get(lane, 0)

    def close(self) -> None:
        """Let the thread end."""
        self._is_over.set()

    def _watch(self) -> None:
        is_away = False
        while not self._is_over.is_set():
            try:
                with closing(psycopg2.connect(**self._ask())) as connection:
                    connection.autocommit = True
                    while not self._is_over.is_set():
                        self._look(connection)
                        is_away = False
                        self._is_over.wait(_LOOK)
            # Parameters may be computed by code of the application, which raises anything. Messages of its
            # errors may hold secrets.
            except Exception as error:
                if not is_away:
                    is_ours = isinstance(error, (BemiError, psycopg2.Error))
                    reason = first_line(error) if is_ours else type(error).__name__
                    logger.warning("the queue keeps what the destination %s lacks: %s", self._name, reason)
                is_away = True
                self._is_over.wait(_RETRY)

    def _look(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_WRITTEN, [self._stream])
            self._written = {(slot, lane): message for slot, lane, message in cursor.fetchall()}


class Removal:
    """Removes the messages of lanes; what the queue does not remove now, is removed later.

    Args:
        broker: The connection to the queue.
        others: Other destinations by their names, as :class:`OtherDestination` takes them: what one of them
            does not have stays in the queue.
    """

    def __init__(self, broker: Broker, others: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
        self._broker = broker
        #: The numbers of the messages of the stream.
        self.numbering = Numbering(broker.connection, broker.address.stream)
        self._others = [OtherDestination(name, ask, self.numbering.identity) for name, ask in others.items()]
        self._running: dict[Lane, tuple[int, Future[None]]] = {}
        self._done: dict[Lane, int] = {}
        #: What is kept for some time is looked at again from time to time.
        self._interval = min(max(broker.address.keep / 20, 1.0), _LONGEST)
        self._again_at: dict[Lane, float] = {}

    def begin(self, lane: Lane, message: int) -> None:
        """Begin to remove the messages of a lane up to this one, unless that is being done."""
        message = min([message, *(other.written(lane) for other in self._others)])
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

    def close(self) -> None:
        """Look at other destinations no longer."""
        for other in self._others:
            other.close()
