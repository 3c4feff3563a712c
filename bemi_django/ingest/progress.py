"""How fast and how far behind: the worker's line in the log."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Counts changes between two lines, which are ``interval`` seconds apart at least."""

    def __init__(self, interval: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._since = clock()
        self._fresh = 0
        self.total = 0

    def add(self, changes: int) -> None:
        self._fresh += changes
        self.total += changes

    @property
    def is_due(self) -> bool:
        """Whether there is something to say, and it is time to."""
        return self._fresh > 0 and self._clock() - self._since >= self._interval

    def line(self, lag_bytes: int, lag_seconds: float) -> str:
        """What was written since the last line, and what the server has that is not written."""
        now = self._clock()
        rate = self._fresh / max(now - self._since, 0.001)
        fresh, self._fresh, self._since = self._fresh, 0, now
        lag = f"{max(lag_bytes, 0):,} bytes, {max(lag_seconds, 0):.1f} s"
        return f"{fresh:,} changes written ({rate:,.0f}/s), {self.total:,} in all; behind by {lag}"
