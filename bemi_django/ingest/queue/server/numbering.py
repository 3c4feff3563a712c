"""Tell messages that a log has counted from those of another stream, which have the same numbers."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.ingest.queue.server.connection import Connection
from bemi_django.ingest.queue.server.stream_info import info_of

if TYPE_CHECKING:
    from nats.aio.client import Client

logger = logging.getLogger(__name__)

_ANEW = "the stream %s is another one than before: reading lane %d of %s from its beginning"


class Numbers(NamedTuple):
    """How a stream counts.

    Attributes:
        identity: The name of the stream, and when it was made, by the clock of its server.
        first: The number of the first message that it has.
        last: That of the last message that it has got.
        now: The time of the answer, by the same clock.
    """

    identity: str
    first: int
    last: int
    now: datetime


async def numbers_of(client: Client, stream: str) -> Numbers:
    """Return how a stream counts; for use in the thread of the connection.

    Raises:
        nats.errors.Error: The server does not answer, or has no such stream.
    """
    answer = await info_of(client, stream)
    created, state = _moment(answer["created"]), answer["state"]
    # A server before 2.10 does not say what time it is.
    now = _moment(answer["ts"]) if "ts" in answer else datetime.now(timezone.utc)
    return Numbers(f"{stream} {created.isoformat()}", state["first_seq"], state["last_seq"], now)


async def number_at(connection: Connection, stream: str, subject: str, moment: datetime) -> int:
    """Return the number from which messages of a subject are as old as a moment, or younger.

    It is for use in the thread of the connection.
    """
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

    # A consumer that begins there, and reads nothing.
    made = await connection.jetstream.add_consumer(
        stream,
        ConsumerConfig(
            name=token_hex(8),
            filter_subject=subject,
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=moment,
            inactive_threshold=5.0,
            mem_storage=True,
            num_replicas=1,
        ),
    )
    await connection.jetstream.delete_consumer(stream, made.name)
    return 1 + (made.delivered.stream_seq if made.delivered else 0)


class Numbering:
    """The numbers of a stream as they are when a session begins.

    Args:
        connection: A connection to its server.
        stream: Its name.
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection, self._stream = connection, stream
        self._numbers = self._read()
        #: Numbers that were written down with another one are those of another stream.
        self.identity = self._numbers.identity

    def of_stream(self, source: str, lane: int, state: LaneState, last: LaneState | None) -> LaneState:
        """Return the state of a lane with the number of its last message of this stream; 0 for none.

        A log may have been written from another stream, made before this one or after it, or from messages
        that the server has lost since, whose numbers others have now. The positions of a lane tell what of
        it was written, so to read it from the beginning is always right.

        Args:
            source: The name of the slot.
            lane: The number of the lane.
            state: How far it is written.
            last: The end of its last message in the queue; None if it has none.
        """
        if state.message > self._numbers.last:
            # Others write meanwhile.
            self._numbers = self._read()
        is_of_stream = state.stream == self.identity and state.message <= self._numbers.last
        is_set_back = last and last.message <= state.message and last.position > state.position
        if is_of_stream and not is_set_back:
            return state
        if state.message:
            logger.warning(_ANEW, self._stream, lane, source)
        return state._replace(message=0, stream=self.identity)

    def require_same(self) -> None:
        """Raise if the stream was made again since the session has begun.

        Raises:
            QueueUnavailable: It was; the next session reads it from the beginning.
        """
        found = self._read()
        if found.identity != self.identity or found.last < self._numbers.last:
            raise QueueUnavailable(f"the stream {self._stream} was made again")
        self._numbers = found

    def _read(self) -> Numbers:
        return self._connection.run(numbers_of(self._connection.client, self._stream))


def _moment(text: str) -> datetime:
    """Return a time of the server, which has up to nine digits after the point, in UTC."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.strptime(f"{whole}.{fraction[:6] or '0'}", "%Y-%m-%dT%H:%M:%S.%f")
    return moment.replace(tzinfo=timezone.utc)
