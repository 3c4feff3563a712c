"""Read the chunks of one lane, each once and in order, whatever the queue holds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bemi_django.exceptions import ProtocolError, ReplicationError
from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.message.chunk import Chunk, decode
from bemi_django.ingest.queue.message.headers import DIVISION_HEADER
from bemi_django.ingest.queue.message.parts import Parts
from bemi_django.ingest.queue.message.soundness import RejectedChunk
from bemi_django.ingest.queue.server.lane_messages import LaneMessages
from bemi_django.ingest.queue.sources.refused_sources import SourceRefused
from bemi_django.wire.division import is_division
from bemi_django.wire.lane import is_of_lost_wal
from bemi_django.wire.sequence import FIRST_HISTORY, HistoryStart, history_of

_OTHER = "message {} of the stream {} is {}; if bemi run has not sent it, run nats stream rmm {} {}"
_FOREIGN = (
    "message {} of the stream {} is one of the slot {} of another server, whose database has the same name: "
    "let one of them publish under another BEMI_SLOT or to a stream of its own, and run nats stream rmm {} {}"
)
#: Seconds that a publisher may take to begin anew, before what is missing is looked for in the whole lane,
#: and before it is taken for lost.
_LATE, _LOST = 5.0, 60.0
#: Chunks that are passed at once: a lane that is read from its beginning must not hold up the others.
_PASSED = 20
_LACKING = (
    "lane {} of the queue lacks changes that come next: was its stream emptied, or a message damaged? See "
    "docs/scaling.md, 'An emptied stream'. If this is not the first destination, begin it again in a new "
    "database, with --from a time after that"
)


class StoredChunk(NamedTuple):
    """A chunk of the queue; ``first`` and ``last`` are the numbers of its messages, as the queue counts."""

    chunk: Chunk
    first: int
    last: int


class LaneReader(LaneMessages):
    """Reads a lane from a message on.

    The queue may hold a chunk twice, or before one that comes first: a publisher that was interrupted begins
    anew with what was not acknowledged. What is at or below the position was written. What is ahead is
    read again when the chunks before it have come.

    Args:
        broker: The connection to the queue.
        source: The name of the slot.
        lane: The number of the lane.
        state: How far the lane is written.
        wake: Called in the thread of the connection when a message is there.
        histories: The histories of the log; chunks of WAL that one of them has left are not taken.
        lanes: The number of lanes in the log; 0 for any.
        servers: The servers of the histories, by their numbers; of one that is not there, any may send.
    """

    def __init__(
        self,
        broker: Broker,
        source: str,
        lane: int,
        state: LaneState,
        wake: Callable[[], object],
        histories: Sequence[HistoryStart] = (FIRST_HISTORY,),
        lanes: int = 0,
        servers: Mapping[int, str] | None = None,
    ) -> None:
        self.source, self.lane, self.lanes = source, lane, lanes
        #: How far the lane has come with what was taken.
        self.position = state.position
        #: How the changes of the last chunk that was taken are divided, and the stream that is read.
        self.division, self.stream = state.division, state.stream
        self.histories = histories
        self.servers = servers or {}
        #: The number of the last message that was read.
        self.seen = state.message
        self._parts = Parts()
        self._next: StoredChunk | None = None
        self._ahead: int | None = None
        #: Whether the lane is read from its beginning.
        self._is_whole = state.message == 0
        #: Whether messages up to the last one that was taken are in the log: a server that has lost messages
        #: gives their numbers to others.
        self.is_proven = self._is_whole
        #: What was read and is no chunk.
        self.rejected: list[RejectedChunk] = []
        #: Since when only chunks that are ahead have come, in seconds of ``time.monotonic()``.
        self.ahead_since: float | None = None
        #: What the log has to follow before anything else of the lane is taken, and whether it cannot.
        self.turning: Chunk | None = None
        self.is_lacking = False
        #: The number of the latest history of which a chunk has come.
        self._history = FIRST_HISTORY.number
        address = broker.address
        subject = address.subject(source, lane)
        super().__init__(broker.connection, address.stream, subject, state.message, wake)

    def peek(self) -> Chunk | None:
        """Return the next chunk that is to be written, if it is there, and of a history of the log.

        It raises the errors of :meth:`read`. What comes after many that are not to be written, it returns
        when it is called again.
        """
        if self.turning is not None and self._has_followed(self.turning):
            self.turning = None
        for _ in range(_PASSED):
            if self._next is not None or self.turning is not None or (found := self.read()) is None:
                break
            chunk = found.chunk
            if chunk.course is not None:
                if not self._has_followed(chunk):
                    self.turning = chunk
                else:
                    self._pass_by(found.last)
                continue
            self._require_own(found)
            self._history = max(self._history, history_of(chunk.end.sequence))
            if chunk.end <= self.position or is_of_lost_wal(chunk.end, self.histories):
                self.is_proven |= self._ahead is None and chunk.end <= self.position
                self._pass_by(found.last)
            elif chunk.begin > self.position or self.lanes not in (0, chunk.lanes):
                # Or of a publisher that divides rows among another number of lanes: the log has to follow it
                # first, or another one has come since, and sends the same changes.
                if self._ahead is None:
                    self._ahead = found.first
                    self.ahead_since = time.monotonic()
            else:
                self._next = found
                # It may have to wait for other lanes, which is no lack.
                self.ahead_since = None
        next_one = None if self._next is None else self._next.chunk
        # A publisher begins a history in the log before it publishes: if not here, then in another log.
        is_known = next_one and history_of(next_one.end.sequence) <= self.histories[-1].number
        return next_one if is_known else None

    @property
    def trouble(self) -> str:
        """Why the lane does not get on by itself, after the histories were read anew; empty if it may."""
        if self.turning is not None:
            return _LACKING.format(self.lane) if self.is_lacking else ""
        since = self.ahead_since
        is_lost = since is not None and time.monotonic() - since > _LOST
        is_left_behind = self._history > self.histories[-1].number
        return _LACKING.format(self.lane) if is_lost or is_left_behind else ""

    def _require_own(self, found: StoredChunk) -> None:
        """Check that a chunk is of the server whose positions it has: others count their WAL, too.

        Raises:
            SourceRefused: It is of another one. To take it would mix two sources, and to remove it would
                take it from the log that it is for.
        """
        sender = found.chunk.origin.system_identifier
        if self.servers.get(history_of(found.chunk.end.sequence), sender) != sender:
            stream, number = self._stream, found.first
            message = _FOREIGN.format(number, stream, self.source, stream, number)
            raise SourceRefused(self.source, message)

    def _has_followed(self, chunk: Chunk) -> bool:
        return chunk.course is None or chunk.course.is_known(self.histories, self.position)

    def read(self) -> StoredChunk | None:
        """Return the chunk of the next messages, if they are there, whatever its position.

        Raises:
            SourceRefused: A message is a chunk of another version.
        """
        while self._messages:
            message = self._messages.popleft()
            self.seen = message.metadata.sequence.stream
            if (parts := self._parts.take(message)) and (found := self._decode(parts)) is not None:
                return found
        return None

    def _pass_by(self, number: int) -> None:
        """Note that messages up to this one are done with, unless parts of a chunk before it are needed."""
        if self._ahead is None:
            self.message = max(self.message, self._parts.before(number, self.position))

    def _decode(self, parts: Sequence[Any]) -> StoredChunk | None:
        """Return the chunk of messages, or reject them if they are none."""
        data = b"".join(part.data for part in parts)
        numbers = [int(part.metadata.sequence.stream) for part in parts]
        try:
            division = (parts[0].headers or {}).get(DIVISION_HEADER, "")
            chunk = decode(data)._replace(division=division)
            if not is_division(division) or (chunk.source, chunk.lane) != (self.source, self.lane):
                raise ProtocolError("a message of the queue is one of another lane, or divided by nothing")
        except ProtocolError as error:
            self.rejected.append(RejectedChunk(numbers, data, str(error)))
            self._pass_by(numbers[-1])
            return None
        except ReplicationError as error:
            stream, number = self._stream, numbers[0]
            message = _OTHER.format(number, stream, error, stream, number)
            raise SourceRefused(self.source, message) from None
        return StoredChunk(chunk, numbers[0], numbers[-1])

    def discard_rejected(self) -> None:
        """Remove messages that are no chunks from the queue: they are kept elsewhere."""
        jetstream = self._connection.jetstream
        for rejected in self.rejected:
            for number in rejected.numbers:
                self._connection.begin(jetstream.delete_msg(self._stream, number))
        self.rejected.clear()

    def take(self) -> None:
        """Take the chunk that :meth:`peek` has returned."""
        assert self._next is not None
        chunk, _, last = self._next
        self.position, self.division = chunk.end, chunk.division
        self._next, self.is_proven = None, True
        self.message = self._parts.before(last, self.position)
        self.ahead_since = None
        if (first := self._ahead) is not None:
            # What was ahead may be next.
            self._read_after(min(self.message, first - 1))

    def look_back(self) -> None:
        """Read the lane from its beginning, once, if changes are missing for a while.

        The number of its last message may be one of another stream, from which the source has come to this
        one. The position tells what of it was written.
        """
        since = self.ahead_since
        if since is not None and not self._is_whole and time.monotonic() - since > _LATE:
            self._is_whole = self.is_proven = True
            # To read all of it may take long.
            self.ahead_since = None
            self._read_after(0)

    def _read_after(self, message: int) -> None:
        self.message, self._ahead = message, None
        self.close()
        self._messages, self._parts = deque(), Parts()
        self._start()
