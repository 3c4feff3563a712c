"""What was read a moment ago: requests as often as anybody likes cost the database little."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

#: Seconds for which a value is kept.
AGE = 5.0
#: Seconds to wait for another thread that reads it.
PATIENCE = 10.0

Value = TypeVar("Value")


class StillReading(Exception):
    """Another thread has been reading the value for long, such as from a server that does not answer."""


class Recent(Generic[Value]):
    """The result of a function, for :data:`AGE` seconds."""

    def __init__(self, read: Callable[[], Value]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._found: tuple[float, Value] | None = None

    def get(self) -> Value:
        """Return the value. Of several threads that ask at once, one reads it.

        Raises:
            StillReading: It takes that thread too long. Requests go on to come, and must not pile up.
        """
        if not self._lock.acquire(timeout=PATIENCE):
            raise StillReading
        try:
            if self._found is None or time.monotonic() - self._found[0] >= AGE:
                self._found = time.monotonic(), self._read()
            return self._found[1]
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Read the value again when it is asked for next."""
        self._found = None
