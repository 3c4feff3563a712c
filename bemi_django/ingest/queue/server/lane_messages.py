"""Receive the messages of one lane from the queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from bemi_django.ingest.queue.server.connection import Connection, end
from bemi_django.ingest.queue.server.pull import Pull

#: Messages of a lane that are asked for at once, and those that may wait, of it and of all lanes.
_FETCHED, _PREFETCHED, _OF_ALL = 8, 16, 256
#: Seconds after which a request that was not fulfilled is repeated.
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
        asyncio.run_coroutine_threadsafe(end({self._reading}), self._connection.loop)

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
                pull = Pull(self._connection, self._stream, await self._consumer(first))
                try:
                    first = await self._follow(pull, first, messages)
                finally:
                    await pull.close()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._connection.lose(self._connection.unavailable(error))
            self._wake()
        finally:
            self._connection.lanes -= 1

    async def _follow(self, pull: Pull, first: int, messages: deque[Any]) -> int:
        """Keep messages until the server has no such consumer any more; return the number of the next one.

        A consumer is kept by one server: it is gone when that was restarted, or is away.
        """

        def take(message: Any) -> None:
            nonlocal first
            messages.append(message)
            first = message.metadata.sequence.stream + 1
            self._wake()

        await pull.open(take)
        while True:
            share = max(_OF_ALL // self._connection.lanes, 1)
            if len(messages) >= min(share, _PREFETCHED):
                await asyncio.sleep(_FULL)
            elif not await pull.run(min(share, _FETCHED), _EXPIRES):
                if not await pull.is_there():
                    return first
                # While no server leads the stream, it answers at once.
                await asyncio.sleep(_FULL)

    async def _consumer(self, first: int) -> str:
        """Let the server keep a consumer that begins at a message, and return its name."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        made = await self._connection.jetstream.add_consumer(
            self._stream,
            ConsumerConfig(
                name=token_hex(8),
                filter_subject=self._subject,
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=first,
                inactive_threshold=30.0,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        return made.name
