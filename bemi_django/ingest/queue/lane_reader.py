"""Read the chunks of one lane, each once and in order, whatever the queue holds."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bemi_django.exceptions import ProtocolError, ReplicationError
from bemi_django.ingest.queue.broker import PART_HEADER, Broker
from bemi_django.ingest.queue.chunk import Chunk, decode
from bemi_django.ingest.queue.soundness import RejectedChunk
from bemi_django.wire.lane import LanePosition, is_of_lost_wal
from bemi_django.wire.sequence import FIRST_HISTORY, HistoryStart

if TYPE_CHECKING:
    from nats.js.client import JetStreamContext

#: Messages that are asked for at once, and those that may wait to be written.
_FETCHED, _PREFETCHED = 8, 16
#: Seconds after which a request without an answer is repeated.
_EXPIRES = 2.0
_FULL = 0.005
_OTHER = "message {} of the stream {} is {}; if bemi run has not sent it, run nats stream rmm {} {}"


class StoredChunk(NamedTuple):
    """A chunk of the queue; ``first`` and ``last`` are the numbers of its messages, as the queue counts."""

    chunk: Chunk
    first: int
    last: int


class LaneReader:
    """Reads a lane from a message on.

    The queue may hold a chunk twice, or before one that comes first: a publisher that was interrupted begins
    anew with what was not acknowledged. What is at or below the position was written. What is ahead is
    read again when the chunks before it have come.

    Args:
        broker: The connection to the queue.
        source: The name of the slot.
        lane: The number of the lane.
        position: How far the lane is written.
        message: The number of the last message that was written.
        wake: Called in the thread of the connection when a message is there.
        histories: The histories of the log; chunks of WAL that one of them has left are not taken.
    """

    def __init__(
        self,
        broker: Broker,
        source: str,
        lane: int,
        position: LanePosition,
        message: int,
        wake: Callable[[], object],
        histories: Sequence[HistoryStart] = (FIRST_HISTORY,),
    ) -> None:
        self._connection = broker.connection
        self._stream = broker.address.stream
        self._subject = broker.address.subject(source, lane)
        self.source, self.lane = source, lane
        #: How far the lane has come with what was taken.
        self.position = position
        #: The number of the last message that was taken.
        self.message = message
        self.histories = histories
        #: The number of the last message that was read.
        self.seen = message
        self._wake = wake
        self._messages: deque[Any] = deque()
        self._parts: list[Any] = []
        self._next: StoredChunk | None = None
        self._ahead: int | None = None
        #: What was read and is no chunk.
        self.rejected: list[RejectedChunk] = []
        #: Since when only chunks that are ahead have come, in seconds of ``time.monotonic()``.
        self.ahead_since: float | None = None
        self._start()

    def peek(self) -> Chunk | None:
        """Return the next chunk that is to be written, if it is there; see :meth:`read`."""
        while self._next is None and (found := self.read()) is not None:
            chunk = found.chunk
            if chunk.end <= self.position or is_of_lost_wal(chunk.end, self.histories):
                if self._ahead is None:
                    self.message = max(self.message, found.last)
            elif chunk.begin > self.position:
                if self._ahead is None:
                    self._ahead = found.first
                    self.ahead_since = time.monotonic()
            else:
                self._next = found
        return None if self._next is None else self._next.chunk

    def read(self) -> StoredChunk | None:
        """Return the chunk of the next messages, if they are there, whatever its position.

        Raises:
            ReplicationError: A message is a chunk of another version.
        """
        while self._messages:
            message = self._messages.popleft()
            self.seen = message.metadata.sequence.stream
            number, _, parts = (message.headers or {}).get(PART_HEADER, "1/1").partition("/")
            if number == "1":
                self._parts = []
            if number != str(len(self._parts) + 1):
                # Of an attempt that was interrupted: the chunk comes again.
                self._parts = []
                continue
            self._parts.append(message)
            if number == parts:
                parts_of_it, self._parts = self._parts, []
                if (found := self._decode(parts_of_it)) is not None:
                    return found
        return None

    def _decode(self, parts: Sequence[Any]) -> StoredChunk | None:
        """Return the chunk of messages, or reject them if they are none."""
        data = b"".join(part.data for part in parts)
        numbers = [int(part.metadata.sequence.stream) for part in parts]
        try:
            chunk = decode(data)
            if (chunk.source, chunk.lane) != (self.source, self.lane):
                raise ProtocolError("a message of the queue is one of another lane")
        except ProtocolError as error:
            self.rejected.append(RejectedChunk(numbers, data, str(error)))
            if self._ahead is None:
                self.message = max(self.message, numbers[-1])
            return None
        except ReplicationError as error:
            stream, number = self._stream, numbers[0]
            raise ReplicationError(_OTHER.format(number, stream, error, stream, number)) from None
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
        self.position, self.message = self._next.chunk.end, self._next.last
        self._next = None
        if self._ahead is not None:
            # What was ahead may be next.
            first, self._ahead, self.ahead_since = self._ahead, None, None
            self.message = min(self.message, first - 1)
            self.close()
            self._messages, self._parts = deque(), []
            self._start()

    def close(self) -> None:
        """Stop reading."""
        self._connection.loop.call_soon_threadsafe(self._stop, self._reading)

    @staticmethod
    def _stop(reading: asyncio.Future[None]) -> None:
        reading.cancel()

    def _start(self) -> None:
        messages = self._messages
        made = asyncio.run_coroutine_threadsafe(
            self._begin(self.message + 1, messages), self._connection.loop
        )
        self._reading = made.result()

    async def _begin(self, first: int, messages: deque[Any]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._fetch(first, messages))

    async def _fetch(self, first: int, messages: deque[Any]) -> None:
        try:
            while True:
                subscription = await self._subscribe(first)
                first = await self._follow(subscription, first, messages)
                await subscription.unsubscribe()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._connection.lose(self._connection.unavailable(error))
            self._wake()

    async def _follow(
        self, subscription: JetStreamContext.PullSubscription, first: int, messages: deque[Any]
    ) -> int:
        """Keep messages until the server has no such consumer any more; return the number of the next one.

        A consumer is kept by one server: it is gone when that was restarted, or is away.
        """
        from nats.js.errors import APIError

        was_there = False
        while True:
            if len(messages) >= _PREFETCHED:
                await asyncio.sleep(_FULL)
                continue
            try:
                found = await subscription.fetch(_FETCHED, timeout=_EXPIRES)
            except asyncio.TimeoutError:
                # The client raises it with and without a class of its own.
                found = []
            except APIError:
                if not was_there:
                    raise
                return first
            if found:
                messages.extend(found)
                first = found[-1].metadata.sequence.stream + 1
                self._wake()
            elif not await self._is_there(subscription):
                return first
            was_there = True

    @staticmethod
    async def _is_there(subscription: JetStreamContext.PullSubscription) -> bool:
        from nats.js.errors import APIError

        try:
            await subscription.consumer_info()
        except (APIError, asyncio.TimeoutError):
            return False
        return True

    async def _subscribe(self, first: int) -> JetStreamContext.PullSubscription:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        return await self._connection.jetstream.pull_subscribe(
            self._subject,
            stream=self._stream,
            config=ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=first,
                inactive_threshold=30.0,
                mem_storage=True,
                num_replicas=1,
            ),
        )
