"""Messages on their way to the queue, and whether it has acknowledged them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from bemi_django.exceptions import QueueUnavailable
from bemi_django.wire.lane import LanePosition


class Outgoing(NamedTuple):
    """A message to publish; ``identifier`` is the same for the same changes.

    ``division`` is the fingerprint of how they are divided among several destinations.
    """

    subject: str
    identifier: str
    payload: bytes
    end: LanePosition
    part: str = "1/1"
    division: str = ""

    @property
    def is_part(self) -> bool:
        """Whether the message is of no use without others."""
        return self.part != "1/1"

    def of_attempt(self, attempt: int) -> Outgoing:
        """Return the message to be published again: parts of two attempts must not be mixed."""
        return self._replace(identifier=f"{self.identifier}.{attempt}") if self.is_part else self


class Acknowledgements:
    """Tells when all messages of a batch are acknowledged; ``failure`` is set if one will not be."""

    def __init__(self, number: int, done: Callable[[], object]) -> None:
        self._left = number
        self._done = done
        self._is_over = threading.Event()
        self.failure: QueueUnavailable | None = None
        #: Counts the messages that were acknowledged.
        self.taken = 0
        #: The numbers that the queue has given to parts of chunks.
        self.parts: list[int] = []

    def take(self) -> None:
        """Note an acknowledgement."""
        self.taken += 1
        self._left -= 1
        if not self._left:
            self._end()

    def fail(self, failure: QueueUnavailable) -> None:
        """Note that a message was refused or lost."""
        if self.failure is None and self._left > 0:
            self.failure, self._left = failure, -1
            self._end()

    @property
    def is_over(self) -> bool:
        """Whether all are acknowledged, or one will not be."""
        return self._is_over.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether it is over."""
        return self._is_over.wait(seconds)

    def _end(self) -> None:
        self._is_over.set()
        self._done()
