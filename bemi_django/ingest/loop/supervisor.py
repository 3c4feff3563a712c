"""Keep a worker running: wait for the slot, retry temporary errors, stop at those that will not pass."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import psycopg2

from bemi_django.exceptions import (
    BemiError,
    IsStandby,
    ReplicationError,
    SlotInUse,
    Unsendable,
    first_line,
)
from bemi_django.ingest.back_off import BackOff
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.error_advice import is_lasting
from bemi_django.ingest.loop.obstacle import Obstacle
from bemi_django.ingest.loop.worker import Worker
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.timeouts import Timeouts

logger = logging.getLogger(__name__)

#: Seconds after which a worker that was abandoned, and has not ended, is abandoned again.
_AGAIN = 1.0


class Supervisor:
    """Runs sessions one after another; :meth:`stop` may be called from a signal handler."""

    def __init__(self, config: WorkerConfig, timeouts: Timeouts | None = None) -> None:
        self._config = config
        self._timeouts = timeouts or Timeouts()
        self._progress = Progress()
        self._stop = threading.Event()
        self._worker: Worker | None = None
        self._back_off = BackOff(self._timeouts, self._progress, self._stop)
        self._is_standby = False
        self._has_streamed = False
        self._has_stalled = False
        self._obstacle = Obstacle()
        self._shortages = Shortages(self._progress.counts)

    def run(self, until_current: bool = False) -> int:
        """Write changes to the log until :meth:`stop` is called.

        Args:
            until_current: Return when everything that is in the WAL now is in the log.

        Returns:
            The number of changes written.

        Raises:
            BemiError, psycopg2.Error: An administrator has to do something or, with ``until_current``, a
                temporary error did not pass in time.
        """
        with self._watched() if until_current else nullcontext():
            return self._run(until_current)

    @property
    def summary(self) -> str:
        """What was done, in words."""
        return self._progress.summary()

    def _run(self, until_current: bool) -> int:
        deadline = time.monotonic() + self._timeouts.patience if until_current else math.inf
        while not self._stop.is_set():
            self._back_off.begin()
            try:
                self._session(until_current)
                break
            except (BemiError, psycopg2.Error) as error:
                if self._has_stalled:
                    raise ReplicationError(self._stall()) from error
                if self._stop.is_set():
                    logger.info("stopped before the batch was written: %s", first_line(error))
                    break
                is_stuck = until_current and isinstance(error, Unsendable) and error.is_stuck
                is_over = is_lasting(error) and not self._is_promotion(error)
                if is_over or is_stuck or self._back_off.began > deadline:
                    raise
                if isinstance(error, SlotInUse):
                    self._stand_by(error, 0.05 if until_current else self._timeouts.standby)
                    continue
                self._is_standby = False
                self._back_off.rest(error)
        if self._has_stalled:
            raise ReplicationError(self._stall())
        return self._progress.total

    def stop(self, *_: object) -> None:
        """Finish the batch and stop. If this takes long, or when called again, leave it unfinished."""
        grace = 0.0 if self._stop.is_set() else self._timeouts.grace
        self._stop.set()
        if (worker := self._worker) is not None:
            worker.stop()
            logger.info("stopping when the batch is written, in %.0f s at the latest", grace)
            # A thread that waits in libpq does not look at the flag.
            timer = threading.Timer(grace, self._abandon, [worker])
            timer.daemon = True
            timer.start()

    def _abandon(self, worker: Worker) -> None:
        # While it connects, there is nothing to interrupt yet; when it has ended, nothing any more.
        while worker is self._worker:
            worker.abandon()
            time.sleep(_AGAIN)

    def _session(self, until_current: bool) -> None:
        worker = self._worker = Worker(
            self._config, self._progress, self._timeouts, self._obstacle, self._shortages
        )
        try:
            if not self._stop.is_set():
                worker.run(until_current)
        finally:
            # Until here stop() can still abandon what is being written.
            worker.close()
            self._has_streamed |= worker.has_streamed
            self._worker = None

    def _is_promotion(self, error: Exception) -> bool:
        """Return whether the server may become the primary soon: another one was it before."""
        return isinstance(error, IsStandby) and self._has_streamed

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Stop the worker if it makes no progress for too long."""
        is_done = threading.Event()
        thread = threading.Thread(target=self._watch, args=[is_done], daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_done.set()
            thread.join()

    def _watch(self, is_done: threading.Event) -> None:
        seen, since = self._seen(), time.monotonic()
        while not is_done.wait(min(1.0, self._timeouts.stall / 4)):
            if (now := self._seen()) != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > self._timeouts.stall:
                self._has_stalled = True
                self.stop()
                return

    def _seen(self) -> tuple[int, int]:
        worker = self._worker
        return self._progress.total, worker.activity if worker else 0

    def _stall(self) -> str:
        return (
            f"nothing has arrived for {self._timeouts.stall:.0f} s: the server may be waiting for a "
            "standby or a lock; try again later, or run without --until-current, which goes on waiting"
        )

    def _stand_by(self, error: SlotInUse, seconds: float) -> None:
        if not self._is_standby:
            logger.info("standing by: %s", first_line(error))
        self._is_standby = True
        self._stop.wait(seconds)
