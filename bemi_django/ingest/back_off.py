"""The pauses between sessions that fail."""

from __future__ import annotations

import logging
import random
import threading
import time

from bemi_django.ingest.error_advice import told
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.timeouts import Timeouts

logger = logging.getLogger(__name__)


class BackOff:
    """Waits before each new attempt, twice as long as before the last one, until a session works.

    Args:
        timeouts: The first and the longest pause.
        progress: Counts the changes that sessions write, and the sessions that failed.
        stop: Ends a pause.
    """

    def __init__(self, timeouts: Timeouts, progress: Progress, stop: threading.Event) -> None:
        self._timeouts = timeouts
        self._progress = progress
        self._stop = stop
        self._pause = timeouts.first_pause
        self.begin()

    def begin(self) -> None:
        """Note that a session begins."""
        #: When the session has begun, in seconds of the monotonic clock.
        self.began, self._total = time.monotonic(), self._progress.total

    def rest(self, error: Exception) -> None:
        """Log why the session has failed, and wait; for the first pause, if the session wrote or lasted."""
        if self._progress.total > self._total or self.began + self._timeouts.good < time.monotonic():
            self._pause = self._timeouts.first_pause
        self._progress.counts["sessions that failed"] += 1
        logger.warning("%s; trying again in %.1f s", told(error), self._pause)
        # Those that fail together should not come back together.
        self._stop.wait(self._pause * random.uniform(0.8, 1.2))
        self._pause = min(self._pause * 2, self._timeouts.longest_pause)
