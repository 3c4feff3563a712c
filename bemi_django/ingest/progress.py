"""The worker's progress line: how fast it is, and how far behind."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

#: Seconds between two lines, at least, if something is wrong.
_AT_ONCE = 1.0
#: The age, in seconds, of the last change in the log from which the worker is behind.
_LATE = 10.0
#: What counts of rows that do not take the fast path begin with: nothing is wrong with them.
LONG_WAY = "rows the long way"
#: What is not in the log, or not completely, and where it is.
_LETTERS, _KEPT = "dead letters", " (kept in _bemi.dead_letters)"


class Progress:
    """Counts changes, and whatever else is worth a word, between two lines.

    Args:
        interval: Seconds between two lines, at least, while all is well. The first line does not wait for it.
        clock: Returns the time in seconds.
    """

    def __init__(self, interval: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._since = clock()
        self._is_first = True
        self._fresh = 0
        self._told: Counter[str] = Counter()
        #: Changes that were written.
        self.total = 0
        #: How often anything else has happened, by a plural noun.
        self.counts: Counter[str] = Counter()

    def add(self, changes: int) -> None:
        """Count changes that are durable."""
        self._fresh += changes
        self.total += changes

    def is_due(self, age: float) -> bool:
        """Return whether a line should be logged: the last one is old enough.

        If nothing was written, a line says so as often as while all is well.

        Args:
            age: Age of the last change in the log, in seconds.
        """
        is_well = age < _LATE and not self._is_first and not self._has_trouble()
        pause = self._interval if is_well or not self._fresh else _AT_ONCE
        return self._clock() - self._since >= pause

    def line(self, lag_bytes: int, lag_seconds: float | None) -> str:
        """Return the line, and begin to count for the next one.

        Args:
            lag_bytes: Bytes of WAL that the server has and the log does not.
            lag_seconds: Age of the last change in the log, in seconds, while there are more; None before the
                first one that this session has written.
        """
        now = self._clock()
        rate = self._fresh / max(now - self._since, 0.001)
        fresh, self._fresh, self._since, self._is_first = self._fresh, 0, now, False
        others, self._told = self.counts - self._told, self.counts.copy()
        seconds = "" if lag_seconds is None else f", {max(lag_seconds, 0):.1f} s"
        parts = [
            f"{fresh:,} changes written ({rate:,.0f}/s), {self.total:,} in all",
            f"behind by {max(lag_bytes, 0):,} bytes{seconds}",
            *(f"{count:,} {what}" for what, count in sorted(others.items())),
        ]
        return "; ".join(parts)

    def summary(self) -> str:
        """Return what was done in all, and what else has happened unless nothing is wrong with it."""
        parts = [f"{self.total} changes written"]
        for what, count in sorted(self.counts.items()):
            if count and not what.startswith(LONG_WAY):
                parts.append(f"{count:,} {what}{_KEPT if what == _LETTERS else ''}")
        return "; ".join(parts)

    def _has_trouble(self) -> bool:
        return any(not what.startswith(LONG_WAY) for what in self.counts - self._told)
