"""Tell messages that a log has counted from those of a stream that was made again: it counts from 1."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import NamedTuple

import orjson

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.ingest.queue.server.connection import Connection

logger = logging.getLogger(__name__)

#: Seconds that the server may take to answer.
_SECONDS = 5.0
_ANEW = "the stream %s was made again: reading lane %d of %s from its beginning"


class Numbers(NamedTuple):
    """Since when a stream counts, and the number of the last message that it has got."""

    created: datetime
    last: int


class Numbering:
    """The numbers of a stream as they are when a session begins.

    Args:
        connection: A connection to its server.
        stream: Its name.
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection, self._stream = connection, stream
        self._numbers = self._read()
        #: Numbers that were written down before are those of another stream.
        self.created = self._numbers.created

    def of_stream(self, source: str, lane: int, state: LaneState) -> LaneState:
        """Return the state of a lane with the number of its last message of this stream; 0 for none.

        The positions of a lane tell what of it was written, so to read it from the beginning is always right.
        """
        if state.message > self._numbers.last:
            # Others write meanwhile.
            self._numbers = self._read()
        is_of_stream = state.updated_at is None or state.updated_at > self.created
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
        if found.created != self.created or found.last < self._numbers.last:
            raise QueueUnavailable(f"the stream {self._stream} was made again")
        self._numbers = found

    def _read(self) -> Numbers:
        return self._connection.run(self._ask())

    async def _ask(self) -> Numbers:
        from nats.js.errors import APIError

        # Not every version of the client tells when a stream was made.
        request = f"$JS.API.STREAM.INFO.{self._stream}"
        answer = orjson.loads((await self._connection.client.request(request, timeout=_SECONDS)).data)
        if "error" in answer:
            raise APIError(
                **{name: answer["error"].get(name) for name in ("code", "description", "err_code")}
            )
        return Numbers(_moment(answer["created"]), answer["state"]["last_seq"])


def _moment(text: str) -> datetime:
    """Return a time of the server, which has up to nine digits after the point, in UTC."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.strptime(f"{whole}.{fraction[:6] or '0'}", "%Y-%m-%dT%H:%M:%S.%f")
    return moment.replace(tzinfo=timezone.utc)
