"""Ask a consumer of JetStream for messages, each of which is there as soon as it comes.

The client's ``fetch()`` asks anew for each message that it has waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from bemi_django.ingest.queue.server.connection import Connection

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

#: Seconds after the end of a request within which the server says so.
_LATE = 1.0
#: How the server answers a request whose time is over.
_EXPIRED = "408"


class Pull:
    """The requests of one reader; for use in the thread of the connection.

    Args:
        connection: The connection to the queue.
        stream: The name of the stream.
        consumer: The name of its consumer, without acknowledgements.
    """

    def __init__(self, connection: Connection, stream: str, consumer: str) -> None:
        self._connection = connection
        self._stream, self._consumer = stream, consumer
        self._left = 0
        self._end: asyncio.Future[str] | None = None
        self._subscription: Subscription | None = None

    async def open(self, take: Callable[[Msg], object]) -> None:
        """Let messages be taken from now on."""
        self._take = take
        self._inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.client.subscribe(self._inbox, cb=self._receive)

    async def run(self, number: int, seconds: float) -> bool:
        """Ask for messages, and wait until all of them have come, or the time is over.

        Returns:
            False if the server has not answered, or has ended the request for another reason.
        """
        self._left = number
        self._end = asyncio.get_running_loop().create_future()
        asked = orjson.dumps({"batch": number, "expires": int(seconds * 1e9)})
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._connection.client.publish(subject, asked, reply=self._inbox)
        try:
            return await asyncio.wait_for(self._end, seconds + _LATE) in ("", _EXPIRED)
        except asyncio.TimeoutError:
            return False

    async def is_there(self) -> bool:
        """Return whether the server has the consumer."""
        from nats.js.errors import APIError

        with suppress(APIError, asyncio.TimeoutError):
            await self._connection.jetstream.consumer_info(self._stream, self._consumer)
            return True
        return False

    async def close(self) -> None:
        """Take no more messages."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def _receive(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status", "")
        if not status:
            self._take(message)
            self._left -= 1
        if (status or self._left == 0) and self._end is not None and not self._end.done():
            self._end.set_result(status)
