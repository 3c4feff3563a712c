"""What a queue has of a source that is not in the log yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.lane_reader import LaneReader
from bemi_django.ingest.queue.message.chunk import may_follow
from bemi_django.ingest.queue.server.numbering import Numbering
from bemi_django.wire.sequence import HistoryStart

#: Seconds that the queue may take for the next message of a lane.
_PATIENCE = 5.0


class _Next(NamedTuple):
    """What comes next in a lane: a chunk that can be written, or what the log has to follow."""

    is_writable: bool = False
    is_turn: bool = False


class Backlog:
    """Tells how far the queue goes, and whether consumers can write any of it.

    They cannot write all of it if a publisher was interrupted: then chunks are in some of the lanes, or parts
    of a chunk, or a chunk without the one before it. A publisher sends them once more, or never: if a new
    history begins before them.

    Args:
        broker: The connection to the queue.
        source: The name of the slot.
    """

    def __init__(self, broker: Broker, source: str) -> None:
        self._broker = broker
        self._source = source
        self._message = threading.Event()

    @property
    def is_empty(self) -> bool:
        """Whether the queue has no message of the source."""
        return not self._broker.has_messages(self._source)

    def ends(self, lanes: Sequence[int]) -> dict[int, LaneState]:
        """Return the end of the last message of each lane that has one in the queue."""
        return self._broker.ends(self._source, lanes)

    def is_writable(self, states: Mapping[int, LaneState], histories: Sequence[HistoryStart]) -> bool:
        """Return whether there is a chunk that a consumer can write.

        Args:
            states: How far the log has come in each lane.
            histories: The histories of the log.

        Raises:
            QueueUnavailable: The queue does not send what it has.
        """
        return any(next_one.is_writable for next_one in self._next(states, histories))

    def has_turn(self, states: Mapping[int, LaneState], histories: Sequence[HistoryStart]) -> bool:
        """Return whether the log has to follow a gap or a new history first; see :meth:`is_writable`."""
        return any(next_one.is_turn for next_one in self._next(states, histories))

    def _next(self, states: Mapping[int, LaneState], histories: Sequence[HistoryStart]) -> Iterator[_Next]:
        numbering = Numbering(self._broker.connection, self._broker.address.stream)
        for lane, end in self.ends(list(states)).items():
            yield self._next_of(lane, end, states, histories, numbering)

    def _next_of(
        self,
        lane: int,
        last: LaneState,
        states: Mapping[int, LaneState],
        histories: Sequence[HistoryStart],
        numbering: Numbering,
    ) -> _Next:
        state = numbering.of_stream(self._source, lane, states[lane], last)
        if last.message <= state.message:
            return _Next()
        reader = LaneReader(self._broker, self._source, lane, state, self._message.set, histories)
        try:
            seen, deadline = reader.seen, time.monotonic() + _PATIENCE
            while (chunk := reader.peek()) is None and reader.turning is None and reader.seen < last.message:
                self._broker.raise_if_lost()
                if reader.seen > seen:
                    seen, deadline = reader.seen, time.monotonic() + _PATIENCE
                elif time.monotonic() > deadline:
                    raise QueueUnavailable(f"the queue does not send what lane {lane} of {self._source} has")
                self._message.wait(0.05)
                self._message.clear()
            positions = {number: state.position for number, state in states.items()}
            is_writable = chunk is not None and may_follow(chunk, positions)
            return _Next(is_writable, reader.turning is not None)
        finally:
            reader.close()
