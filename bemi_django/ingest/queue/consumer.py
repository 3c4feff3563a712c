"""Keep a consumer running: retry temporary errors, stop at those that will not pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import psycopg2

from bemi_django.exceptions import BemiError
from bemi_django.ingest.back_off import BackOff
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.error_advice import is_lasting
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.queue.consumption import Consumption
from bemi_django.ingest.timeouts import Timeouts


class Consuming(Protocol):
    """A session of a consumer; ``close`` ends its connections."""

    close: Callable[[], None]

    def run(self, until_current: bool = False) -> None:
        """Write until told to stop or, with ``until_current``, what there is now."""


#: Opens a session: it takes the configuration, what counts changes, the timeouts, and what tells it to stop.
Opener = Callable[[WorkerConfig, Progress, Timeouts, threading.Event], Consuming]


class Consumer:
    """Runs sessions one after another; :meth:`stop` may be called from a signal handler.

    Args:
        config: Where the queue and the destination are.
        timeouts: Timeouts and back-off intervals.
        open_session: Opens a session.
    """

    def __init__(
        self, config: WorkerConfig, timeouts: Timeouts | None = None, open_session: Opener = Consumption
    ) -> None:
        self._open_session = open_session
        self._config = config
        self._timeouts = timeouts or Timeouts()
        self._progress = Progress()
        self._stop = threading.Event()

    def run(self, until_current: bool = False) -> int:
        """Write changes to the log until :meth:`stop` is called.

        Args:
            until_current: Return when everything that is in the queue now is in the log.

        Returns:
            The number of changes written.

        Raises:
            BemiError, psycopg2.Error: An administrator has to do something or, with ``until_current``, a
                temporary error did not pass in time.
        """
        deadline = time.monotonic() + self._timeouts.patience if until_current else float("inf")
        back_off = BackOff(self._timeouts, self._progress, self._stop)
        while not self._stop.is_set():
            back_off.begin()
            try:
                self._session(until_current)
                break
            except (BemiError, psycopg2.Error) as error:
                if is_lasting(error) or back_off.began > deadline:
                    raise
                back_off.rest(error)
        return self._progress.total

    @property
    def summary(self) -> str:
        """What was done, in words."""
        return self._progress.summary()

    def stop(self, *_: object) -> None:
        """Finish the transaction and return from :meth:`run`."""
        self._stop.set()

    def _session(self, until_current: bool) -> None:
        session = self._open_session(self._config, self._progress, self._timeouts, self._stop)
        try:
            session.run(until_current)
        finally:
            session.close()
