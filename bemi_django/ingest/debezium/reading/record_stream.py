"""Read records from a stream of NATS JetStream, which Debezium Server has written."""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.queue.server.connection import Connection
from bemi_django.ingest.queue.server.numbering import numbers_of
from bemi_django.ingest.queue.server.stream_info import info_of
from bemi_django.wire.queue_address import QueueAddress

if TYPE_CHECKING:
    from nats.js.client import JetStreamContext

logger = logging.getLogger(__name__)

#: Messages that are asked for at once, and the seconds that are waited for them.
BATCH, _WAIT = 64, 0.5
#: Seconds between two looks at the consumer.
_LOOK = 10.0
#: Parts of a stream that are named, of those that were removed.
_NAMED = 10
#: All subjects of a stream, in the order of the stream.
EVERYTHING = ">"


class Lack(NamedTuple):
    """Messages that are missing.

    Attributes:
        reason: What is to be kept of them.
        after: The number after which to go on; 0 in a stream that was made anew, None if it is told by the
            messages that were fetched.
    """

    reason: str
    after: int | None


class StreamPlace(NamedTuple):
    """Where to read: the queue, its subjects, and the number of the last message that was taken.

    ``stream`` is the identity of the stream in which it has that number, and ``may_lack`` goes on where
    messages are missing.
    """

    address: QueueAddress
    subjects: tuple[str, ...] = (EVERYTHING,)
    after: int = 0
    stream: str = ""
    may_lack: bool = False


class RecordStream:
    """The messages of a stream, which others remove.

    Args:
        place: Where to read.

    Raises:
        QueueUnavailable: The server does not answer, or has no such stream.
        ReplicationError: The stream is not fit for use, or lacks messages.
    """

    def __init__(self, place: StreamPlace) -> None:
        self._place = place
        self._connection = Connection(place.address, lambda failure: None)
        self.close = self._connection.close
        #: The number of the last message that was fetched, or taken by an earlier session; 0 without one.
        self._number = place.after
        #: Messages that are missing before those that were fetched last; None if none is.
        self.lack: Lack | None = None
        self._look_at = time.monotonic() + _LOOK
        try:
            self._subscription = self._connection.run(self._subscribe())
        except BaseException:
            self.close()
            raise

    def fetch(self) -> list[tuple[bytes, int]]:
        """Return the next messages with their numbers; none if there is none for a moment.

        Raises:
            QueueUnavailable: The server does not answer.
            ReplicationError: Messages were removed before they were read.
        """
        if self._connection.failure is not None:
            raise self._connection.failure
        return self._connection.run(self._fetch())

    def is_read(self) -> bool:
        """Return whether there are no more messages now.

        Raises:
            QueueUnavailable: The server does not answer.
        """
        return self._connection.run(self._pending()) == 0

    async def _fetch(self) -> list[tuple[bytes, int]]:
        try:
            found = await self._subscription.fetch(BATCH, timeout=_WAIT)
        except asyncio.TimeoutError:
            if time.monotonic() > self._look_at:
                self._look_at = time.monotonic() + _LOOK
                # A consumer of a server that was restarted does not exist any more.
                await self._pending()
            return []
        fetched = [(message.data, message.metadata.sequence.stream) for message in found]
        jumps = []
        for _, number in fetched:
            if 0 < self._number < number - 1:
                jumps.append((self._number, number))
            self._number = number
        if jumps:
            await self._require_between(jumps)
        return fetched

    async def _require_between(self, jumps: Sequence[tuple[int, int]]) -> None:
        """Check that the messages between others are ones of other subjects, and were not removed."""
        name = self._place.address.stream
        state = (await info_of(self._connection.client, name, has_deleted=True))["state"]
        removed = list(_removed_between(jumps, state.get("deleted") or (), state["first_seq"]))
        if removed:
            self._pass_over(_told(name, removed), None)

    def _pass_over(self, reason: str, after: int | None) -> None:
        if not self._place.may_lack:
            raise ReplicationError(
                f"{reason}, before they were read: run with --accept-gap to go on without them"
            )
        logger.warning("%s: going on without them", reason)
        self.lack = Lack(reason, after)

    async def _pending(self) -> int:
        return (await self._subscription.consumer_info()).num_pending or 0

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy

        jetstream, place = self._connection.jetstream, self._place
        name = place.address.stream
        info = await jetstream.stream_info(name)
        if info.config.retention not in (None, RetentionPolicy.LIMITS):
            raise ReplicationError(
                f"the stream {name} removes what others have taken: it needs the retention policy limits"
            )
        if (info.config.max_msgs_per_subject or -1) > 0:
            raise ReplicationError(
                f"the stream {name} removes messages between others: it needs no max_msgs_per_subject"
            )
        numbers = await numbers_of(self._connection.client, name)
        self.identity = numbers.identity
        is_anew = self.identity != place.stream
        self._require_all(name, numbers.first, numbers.last, is_anew=is_anew)
        return await jetstream.pull_subscribe(
            place.subjects[0],
            stream=name,
            config=ConsumerConfig(
                filter_subjects=list(place.subjects) if len(place.subjects) > 1 else None,
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._number + 1,
                inactive_threshold=30.0,
                mem_storage=True,
                num_replicas=1,
            ),
        )

    def _require_all(self, name: str, first: int, last: int, *, is_anew: bool) -> None:
        after = self._place.after
        if after == 0 or not is_anew and first <= after + 1 and after <= last:
            return
        if is_anew or after > last:
            self._pass_over(f"the stream {name} is another one than that of the message {after}", 0)
            self._number = 0
        else:
            self._pass_over(_told(name, [(after + 1, first - 1)]), first - 1)
            self._number = first - 1


def _removed_between(
    jumps: Sequence[tuple[int, int]], deleted: Sequence[int], first: int
) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of messages next to each other that were removed.

    Args:
        jumps: Numbers of messages that came one after the other.
        deleted: Numbers that were deleted between others. Nobody can tell their subject.
        first: The number of the first message of the stream.
    """
    numbers = sorted(deleted)
    for before, end in jumps:
        begin = min(first, end)
        if begin > before + 1:
            yield before + 1, begin - 1
        run: tuple[int, int] | None = None
        for number in numbers[bisect_left(numbers, max(begin, before + 1)) : bisect_left(numbers, end)]:
            if run is not None and number == run[1] + 1:
                run = run[0], number
                continue
            if run is not None:
                yield run
            run = number, number
        if run is not None:
            yield run


def _told(name: str, removed: Sequence[tuple[int, int]]) -> str:
    parts = [str(first) if first == last else f"{first} to {last}" for first, last in removed[:_NAMED]]
    if len(removed) > _NAMED:
        count = sum(last - first + 1 for first, last in removed)
        parts.append(f"others up to {removed[-1][1]} ({count} in all)")
    return f"the messages {', '.join(parts)} of the stream {name} were removed"
