"""Tell messages that a log has counted from those of a stream that was made again: it counts from 1."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

import orjson

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.ingest.queue.server.connection import Connection

if TYPE_CHECKING:
    from nats.aio.client import Client

logger = logging.getLogger(__name__)

#: Seconds that the server may take to answer.
_SECONDS = 5.0
_ANEW = "the stream %s was made again: reading lane %d of %s from its beginning"


class Numbers(NamedTuple):
    """How a stream counts.

    Clocks of servers differ, and only a difference of two times of one clock means the same everywhere.

    Attributes:
        created: When the stream was made, by the clock of its server.
        first: The number of the first message that it has.
        last: That of the last message that it has got.
        now: The time of the answer, by the same clock.
        made_at: When the stream was made at the latest, by ``time.monotonic()`` of this process.
    """

    created: datetime
    first: int
    last: int
    now: datetime
    made_at: float


async def numbers_of(client: Client, stream: str) -> Numbers:
    """Return how a stream counts; for use in the thread of the connection.

    Raises:
        nats.errors.Error: The server does not answer, or has no such stream.
    """
    from nats.js.errors import APIError, NotFoundError

    # Not every version of the client tells when a stream was made, and none what time it is there.
    answer = orjson.loads((await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=_SECONDS)).data)
    if "error" in answer:
        kind = NotFoundError if answer["error"].get("code") == 404 else APIError
        raise kind(**{name: answer["error"].get(name) for name in ("code", "description", "err_code")})
    created, state = _moment(answer["created"]), answer["state"]
    # A server before 2.10 does not say what time it is.
    now = _moment(answer["ts"]) if "ts" in answer else datetime.now(timezone.utc)
    made_at = time.monotonic() - (now - created).total_seconds()
    return Numbers(created, state["first_seq"], state["last_seq"], now, made_at)


class Numbering:
    """The numbers of a stream as they are when a session begins.

    Args:
        connection: A connection to its server.
        stream: Its name.
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection, self._stream = connection, stream
        self._numbers = self._read()
        self._created = self._numbers.created
        #: Numbers that were written down before are those of another stream; by ``time.monotonic()``.
        self.made_at = self._numbers.made_at

    def of_stream(self, source: str, lane: int, state: LaneState) -> LaneState:
        """Return the state of a lane with the number of its last message of this stream; 0 for none.

        The positions of a lane tell what of it was written, so to read it from the beginning is always right.
        """
        if state.message > self._numbers.last:
            # Others write meanwhile.
            self._numbers = self._read()
        is_of_stream = state.written_at is None or state.written_at > self.made_at
        if not state.message or is_of_stream and state.message <= self._numbers.last:
            return state
        logger.warning(_ANEW, self._stream, lane, source)
        return state._replace(message=0)

    def require_same(self) -> None:
        """Raise if the stream was made again since the session has begun.

        Raises:
            QueueUnavailable: It was; the next session reads it from the beginning.
        """
        found = self._read()
        if found.created != self._created or found.last < self._numbers.last:
            raise QueueUnavailable(f"the stream {self._stream} was made again")
        self._numbers = found

    def _read(self) -> Numbers:
        return self._connection.run(numbers_of(self._connection.client, self._stream))


def _moment(text: str) -> datetime:
    """Return a time of the server, which has up to nine digits after the point, in UTC."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.strptime(f"{whole}.{fraction[:6] or '0'}", "%Y-%m-%dT%H:%M:%S.%f")
    return moment.replace(tzinfo=timezone.utc)
