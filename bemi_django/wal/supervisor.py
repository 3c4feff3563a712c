"""Keep a worker at work: wait for the slot, try again after what passes, give up on what does not."""

from __future__ import annotations

import logging
import math
import random
import threading
import time

import psycopg2

from bemi_django.exceptions import BemiError, SlotInUse, Superseded
from bemi_django.wal.job import Job
from bemi_django.wal.progress import Progress
from bemi_django.wal.worker import Worker

logger = logging.getLogger(__name__)

#: Seconds between two looks of a standby at the slot.
_STANDBY_SECONDS = 1.0
#: Seconds after which a run that is to end gives up on what may pass.
_PATIENCE_SECONDS = 30.0
#: Seconds before the first and before any later attempt after a failure.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
#: A session that lived so long was a good one: the next failure is a new one.
_GOOD_SECONDS = 60.0

# What an administrator has to mend: rights, names, missing objects, features.
_LASTING = ("0A", "28", "3D", "42")
# libpq has no SQLSTATE for a refused connection, only the server's words.
_LASTING_WORDS = (
    "password authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "permission denied",
    "must be superuser or replication role",
    "is not permitted to log in",
    "invalid connection option",
)


class Supervisor:
    """Runs sessions one after another; ``stop()`` may be called from a signal handler."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._progress = Progress()
        self._stop = threading.Event()
        self._worker: Worker | None = None

    def run(self, until_current: bool = False) -> int:
        """Work until stopped, or until what is in the WAL now is written; return the changes written.

        Raises BemiError, or psycopg2.Error for what trying again would not mend.
        """
        pause = _FIRST_PAUSE
        deadline = time.monotonic() + _PATIENCE_SECONDS if until_current else math.inf
        is_standby = False
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._session(until_current)
                break
            except (BemiError, psycopg2.Error) as error:
                if is_lasting(error) or began > deadline:
                    raise
                if isinstance(error, SlotInUse):
                    if not is_standby:
                        logger.info("standing by: %s", _first_line(error))
                    is_standby = True
                    self._stop.wait(0.05 if until_current else _STANDBY_SECONDS)
                    continue
                if began + _GOOD_SECONDS < time.monotonic():
                    pause = _FIRST_PAUSE
                logger.warning("%s; trying again in %.1f s", _first_line(error), pause)
                # Workers that fail together need not come back together.
                self._stop.wait(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, _LONGEST_PAUSE)
        return self._progress.total

    def stop(self, *_: object) -> None:
        """Finish the batch and leave."""
        self._stop.set()
        if self._worker is not None:
            self._worker.stop()

    def _session(self, until_current: bool) -> None:
        worker = self._worker = Worker(self._job, self._progress)
        try:
            if not self._stop.is_set():
                worker.run(until_current)
        finally:
            self._worker = None
            worker.close()


def is_lasting(error: Exception) -> bool:
    """Whether trying again would end the same way."""
    if isinstance(error, psycopg2.Error):
        if error.pgcode:
            return error.pgcode[:2] in _LASTING
        return any(word in str(error) for word in _LASTING_WORDS)
    return not isinstance(error, (SlotInUse, Superseded))


def _first_line(error: Exception) -> str:
    # The lines that follow may hold values of rows.
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
