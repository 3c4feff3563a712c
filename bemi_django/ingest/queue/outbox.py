"""Batches of messages on their way to the queue, no more of them than a window of bytes."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from bemi_django.exceptions import QueueFull, QueueUnavailable
from bemi_django.ingest.queue.acknowledgements import Acknowledgements, Outgoing
from bemi_django.ingest.queue.broker import ACKNOWLEDGE_SECONDS, Broker

logger = logging.getLogger(__name__)

#: Bytes that may be on their way without an acknowledgement.
_WINDOW = 16 * 1024 * 1024
_PAUSE = 0.2
#: Seconds after which a full queue is tried again.
_FULL = 0.5
#: Bytes that the stream adds to a message, with its headers.
_OVERHEAD = 512
_NO_ROOM = (
    "the queue at {hosts}: a change of {size} bytes does not fit into the stream, which has {taken} of "
    "max_bytes {most}; if it stays so when consumers have written the rest, run nats stream edit {stream} "
    "--max-bytes={wanted}"
)


class PublishedBatch(NamedTuple):
    """What is published together.

    ``rows`` and ``letters`` are their numbers, ``end`` is the LSN where the transactions end, None within
    one, and ``committed_at`` the commit time of the last one.
    """

    rows: int
    letters: int
    end: int | None
    committed_at: int | None


class Waiting(NamedTuple):
    """What is called while the queue is waited for.

    ``hold`` keeps the source from giving us up and must not fail, ``goes_on`` does the same and returns
    False if the worker is to stop, and ``note`` tells an operator what is waited for.
    """

    hold: Callable[[], object] = lambda: None
    goes_on: Callable[[], bool] = lambda: True
    note: Callable[[str], object] = lambda trouble: None


class Outbox:
    """Publishes batches one after another, again while the queue has no room for them.

    Args:
        broker: The connection to the queue; closed with the outbox.
        waiting: What is called meanwhile.
    """

    def __init__(self, broker: Broker, waiting: Waiting) -> None:
        self._broker = broker
        self._waiting = waiting
        self._batches: deque[_Sent] = deque()
        self._size = 0
        #: How many messages of the first batch are acknowledged, and how long the next may take.
        self._taken, self._patient_until = -1, 0.0
        #: Why the first batch is refused, if the queue has no room for it.
        self._lack = ""
        self._readable, self._done = os.pipe()

    @property
    def in_flight(self) -> int:
        """The number of batches on their way."""
        return len(self._batches)

    def fileno(self) -> int:
        """Return a file descriptor that is readable when one of them is done."""
        return self._readable

    def is_full(self, messages: Sequence[Outgoing]) -> bool:
        """Return whether messages have to wait for those before them."""
        return self._size > 0 and self._size + _size_of(messages) > _WINDOW

    def publish(self, messages: Sequence[Outgoing], batch: PublishedBatch) -> None:
        """Begin to publish messages after those before."""
        sent = _Sent(batch, messages)
        self._batches.append(sent)
        self._size += _size_of(messages)
        self._send(sent)

    def settle(self) -> PublishedBatch:
        """Wait for the first batch, and return it.

        Raises:
            QueueUnavailable: The queue has refused a message, or does not answer.
        """
        sent = self._batches[0]
        while True:
            self._await(sent)
            if sent.acknowledgements.failure is None:
                break
            self._wait_for_room(sent.acknowledgements.failure)
        self._batches.popleft()
        self._size -= _size_of(sent.messages)
        self._taken = -1
        os.read(self._readable, 1)
        return sent.batch

    def require_progress(self) -> None:
        """Check that acknowledgements come; call this often.

        Raises:
            QueueUnavailable: None has come for too long, or the connection was lost.
        """
        self._broker.raise_if_lost()
        taken = self._batches[0].acknowledgements.taken if self._batches else -1
        now = time.monotonic()
        if not self._batches or self._lack or taken != self._taken:
            self._taken, self._patient_until = taken, now + ACKNOWLEDGE_SECONDS
        elif now > self._patient_until:
            raise QueueUnavailable(f"the queue at {self._broker.address.hosts} does not acknowledge")

    def close(self) -> None:
        """Close the connection to the queue."""
        self._broker.close()
        os.close(self._readable)
        os.close(self._done)

    def _wait_for_room(self, failure: QueueUnavailable) -> None:
        """Publish again what was refused, after a pause.

        Raises:
            QueueUnavailable: The failure is another one, or the worker is to stop.
        """
        for sent in self._batches:
            self._await(sent)
            other = sent.acknowledgements.failure
            if other is not None and not isinstance(other, QueueFull):
                raise other
        if self._lack != str(failure):
            self._lack = str(failure)
            logger.warning("%s; waiting for consumers to make room", failure)
            self._waiting.note(self._lack)
        try:
            until = time.monotonic() + _FULL
            while time.monotonic() < until:
                if not self._waiting.goes_on():
                    raise failure
                time.sleep(_PAUSE / 2)
        finally:
            self._discard_parts()
        try:
            for sent in self._batches:
                if sent.acknowledgements.failure is not None:
                    os.read(self._readable, 1)
                    sent.attempt += 1
                    self._send(sent)
            self._await(self._batches[0])
        finally:
            if self._batches[0].acknowledgements.failure is None:
                self._lack = ""

    def _discard_parts(self) -> None:
        """Remove the parts of refused chunks: they would stay, and take the room that the chunks need."""
        # Where it fails, they stay.
        with suppress(QueueUnavailable):
            for sent in self._batches:
                acknowledgements = sent.acknowledgements
                while acknowledgements.failure is not None and acknowledgements.parts:
                    self._broker.discard(acknowledgements.parts.pop())
                    self._waiting.hold()

    def _await(self, sent: _Sent) -> None:
        while not sent.acknowledgements.wait(_PAUSE):
            self._waiting.hold()
            self.require_progress()

    def _send(self, sent: _Sent) -> None:
        sent.acknowledgements = Acknowledgements(len(sent.messages), self._wake)
        if sent.has_parts and (lack := self._lack_of(sent.size)):
            sent.acknowledgements.fail(QueueFull(lack))
            return
        messages = [one.of_attempt(sent.attempt) for one in sent.messages] if sent.attempt else sent.messages
        self._broker.publish(messages, sent.acknowledgements)

    def _lack_of(self, size: int) -> str:
        """Say what is in the way of a chunk in parts, some of which would stay and take the room of others.

        Raises:
            QueueUnavailable: The queue does not answer.
        """
        address, room = self._broker.address, self._broker.room()
        if room.has(size):
            return ""
        state = {"taken": room.taken, "most": room.most, "wanted": room.taken + 3 * size}
        return _NO_ROOM.format(hosts=address.hosts, size=size, stream=address.stream, **state)

    def _wake(self) -> None:
        os.write(self._done, b".")


class _Sent:
    """A batch on its way."""

    acknowledgements: Acknowledgements

    def __init__(self, batch: PublishedBatch, messages: Sequence[Outgoing]) -> None:
        self.batch, self.messages = batch, messages
        self.attempt = 0
        self.has_parts = any(message.is_part for message in messages)
        #: Bytes that they take in the stream at most.
        self.size = _size_of(messages) + len(messages) * _OVERHEAD


def _size_of(messages: Sequence[Outgoing]) -> int:
    return sum(len(message.payload) for message in messages)
