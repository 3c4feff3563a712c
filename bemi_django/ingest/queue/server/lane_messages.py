"""Receive the messages of one lane from the queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bemi_django.ingest.queue.server.connection import Connection

if TYPE_CHECKING:
    from nats.js.client import JetStreamContext

#: Messages of a lane that are asked for at once, and those that may wait, of it and of all lanes.
_FETCHED, _PREFETCHED, _OF_ALL = 8, 16, 256
#: Seconds after which a request without an answer is repeated.
_EXPIRES = 2.0
_FULL = 0.005


class LaneMessages:
    """Keeps the next messages of a lane in memory.

    Args:
        connection: The connection to the queue.
        stream: The name of the stream.
        subject: The subject of the lane.
        message: The number of the message after which to begin.
        wake: Called in the thread of the connection when a message is there.
    """

    def __init__(
        self, connection: Connection, stream: str, subject: str, message: int, wake: Callable[[], object]
    ) -> None:
        self._connection = connection
        self._stream, self._subject = stream, subject
        #: The number of the last message that was taken.
        self.message = message
        self._wake = wake
        self._messages: deque[Any] = deque()
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
        self._connection.lanes += 1
        try:
            while True:
                subscription = await self._subscribe(first)
                try:
                    first = await self._follow(subscription, first, messages)
                finally:
                    # The client keeps what comes for one that nobody reads any more.
                    await subscription.unsubscribe()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._connection.lose(self._connection.unavailable(error))
            self._wake()
        finally:
            self._connection.lanes -= 1

    async def _follow(
        self, subscription: JetStreamContext.PullSubscription, first: int, messages: deque[Any]
    ) -> int:
        """Keep messages until the server has no such consumer any more; return the number of the next one.

        A consumer is kept by one server: it is gone when that was restarted, or is away.
        """
        from nats.js.errors import APIError

        was_there = False
        while True:
            share = max(_OF_ALL // self._connection.lanes, 1)
            if len(messages) >= min(share, _PREFETCHED):
                await asyncio.sleep(_FULL)
                continue
            try:
                found = await subscription.fetch(min(share, _FETCHED), timeout=_EXPIRES)
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
