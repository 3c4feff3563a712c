"""Decide how often a message may fail because the source is short of resources."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import psycopg2

from bemi_django.ingest import error_advice

#: Failures that are taken for temporary ones.
_ATTEMPTS = 3
#: Seconds after which failures are forgotten.
_MEMORY = 600.0
# Insufficient resources (class 53) of one statement. A full disk and too many connections are not the fault
# of a message, however often they occur.
_CLASS = "53"
_OF_THE_SERVER = ("53100", "53300")


class Shortages:
    """Counts, by table, the failures of all sessions of one worker.

    Args:
        counts: Where the failures are counted for the progress line.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, counts: Counter[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counts: Counter[str] = Counter() if counts is None else counts
        self._clock = clock
        self._failures: dict[bytes, tuple[int, float]] = {}

    def raise_unless_of_message(self, error: Exception, message: bytes) -> None:
        """Raise the error again, unless it is the fault of the message that was being read.

        Args:
            error: Whatever reading the message has raised, including errors of the source's server.
            message: The message. Those of one table are counted together, because its description may be the
                reason, and each failure ends a session.
        """
        if not _is_shortage(error) or not self._exceeds(message[1:5]):
            error_advice.raise_unless_of_message(error)

    def _exceeds(self, table: bytes) -> bool:
        now = self._clock()
        failures, last = self._failures.get(table, (0, now))
        failures = 1 if now - last > _MEMORY else failures + 1
        self._failures[table] = failures, now
        self._counts["failures for lack of resources"] += 1
        return failures > _ATTEMPTS


def _is_shortage(error: Exception) -> bool:
    state = (error.pgcode if isinstance(error, psycopg2.Error) else None) or ""
    return state[:2] == _CLASS and state not in _OF_THE_SERVER
