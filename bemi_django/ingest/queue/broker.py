"""What is asked of a queue: publish messages, tell where lanes end, remove what was written."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from bemi_django.exceptions import QueueFull, QueueUnavailable, ReplicationError
from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.ingest.queue.acknowledgements import Acknowledgements, Outgoing
from bemi_django.ingest.queue.message.headers import (
    DIVISION_HEADER,
    END_HEADER,
    IDENTIFIER_HEADER,
    PART_HEADER,
    end_in,
)
from bemi_django.ingest.queue.server.connection import Connection
from bemi_django.ingest.queue.server.numbering import number_at, numbers_of
from bemi_django.ingest.queue.server.stream_config import require_stream, watch
from bemi_django.ingest.queue.server.stream_info import Room, room_of
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.queue_address import STREAM, QueueAddress, is_lane

if TYPE_CHECKING:
    from nats.aio.msg import Msg

#: Seconds without an acknowledgement after which a publisher begins anew.
ACKNOWLEDGE_SECONDS = 10.0
#: A message of the server is at most so large; the default of NATS.
_HEADERS = 4096
#: Codes of errors: no room in the stream, for all streams, or for those of the account.
_FULL = (10002, 10023, 10047, 10077)


class Broker:
    """A stream of the servers of an address.

    Args:
        address: Where the queue is.

    Raises:
        QueueUnavailable: No server can be reached.
        ReplicationError: The extra is not installed, or the stream is not fit for use.
    """

    def __init__(self, address: QueueAddress) -> None:
        self.address = address
        self._waiting: set[Acknowledgements] = set()
        self._expected: dict[int, tuple[Acknowledgements, bool]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.connection = Connection(address, self._fail)
        self.close = self.connection.close
        try:
            #: The number of replicas of the stream.
            self.replicas = self.connection.run(
                require_stream(self.connection, address.stream, address.replicas)
            )
            self.connection.run(self._listen())
        except BaseException:
            self.close()
            raise

    @functools.cached_property
    def largest(self) -> int:
        """The number of bytes that a message may have.

        Raises:
            ReplicationError: It is too small.
        """
        most = int(self.connection.client.max_payload)
        if most < 2 * _HEADERS:
            raise ReplicationError(
                f"the queue at {self.address.hosts} takes messages of {most} bytes: let max_payload in the "
                f"configuration of nats-server be {2 * _HEADERS} at least"
            )
        return most - _HEADERS

    def publish(self, messages: Sequence[Outgoing], acknowledgements: Acknowledgements) -> None:
        """Begin to publish messages in their order."""
        self.connection.loop.call_soon_threadsafe(self._begin, messages, acknowledgements)

    def has_messages(self, source: str) -> bool:
        """Return whether the queue has a message of a source."""
        return self.connection.run(self._has_messages(f"{STREAM}.{source}.*"))

    def ends(self, source: str, lanes: Sequence[int]) -> dict[int, LaneState]:
        """Return the end of the last message of each lane that has one in the queue, and its number.

        Messages before it may end later: a publisher that was interrupted begins anew.
        """
        return self.connection.run(self._ends(source, lanes))

    def sources(self) -> dict[str, int]:
        """Return the sources of which the queue has messages, and a number above those of their lanes.

        Others may publish to subjects that are none of a lane.
        """
        return self.connection.run(self._sources())

    def number_at(self, source: str, lane: int, moment: datetime) -> int:
        """Return the number from which messages of a lane are as old as a moment, or younger."""
        return self.connection.run(
            number_at(self.connection, self.address.stream, self.address.subject(source, lane), moment)
        )

    def room(self) -> Room:
        """Return how much room there is in the stream."""
        return self.connection.run(room_of(self.connection.client, self.address.stream))

    def discard(self, number: int) -> None:
        """Remove a message."""
        self.connection.run(self.connection.jetstream.delete_msg(self.address.stream, number))

    def forget(self, source: str, lane: int, before: int) -> Future[None]:
        """Begin to remove the messages of a lane whose number is below ``before``, unless they are kept."""
        return self.connection.begin(self._forget(self.address.subject(source, lane), before))

    def raise_if_lost(self) -> None:
        """Raise why the connection is of no use any more, if it is not.

        Raises:
            QueueUnavailable: The connection was lost.
        """
        if self.connection.failure is not None:
            raise self.connection.failure

    async def _listen(self) -> None:
        # Batches are published one after another.
        self._turn = asyncio.Lock()
        client = self.connection.client
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._take_reply)
        self._begin_task(watch(self.connection, self.address.stream))

    def _begin(self, messages: Sequence[Outgoing], acknowledgements: Acknowledgements) -> None:
        self._waiting.add(acknowledgements)
        if self.connection.failure is not None:
            acknowledgements.fail(self.connection.failure)
            return
        self._begin_task(self._publish(messages, acknowledgements))

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.connection.loop.create_task(work)
        # The loop itself keeps only a weak reference.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, messages: Sequence[Outgoing], acknowledgements: Acknowledgements) -> None:
        client = self.connection.client
        try:
            async with self._turn:
                for message in messages:
                    self._number += 1
                    self._expected[self._number] = acknowledgements, message.is_part
                    headers = {
                        IDENTIFIER_HEADER: message.identifier,
                        "Nats-Expected-Stream": self.address.stream,
                        END_HEADER: f"{message.end.sequence}.{message.end.ordinal}",
                        PART_HEADER: message.part,
                    }
                    if message.division:
                        headers[DIVISION_HEADER] = message.division
                    reply = f"{self._inbox}.{self._number}"
                    await client.publish(message.subject, message.payload, reply=reply, headers=headers)
        except Exception as error:
            acknowledgements.fail(self.connection.unavailable(error))

    async def _take_reply(self, reply: Msg) -> None:
        """Take an answer to a published message: it is stored, or it is not."""
        expected = self._expected.pop(int(reply.subject.rpartition(".")[2]), None)
        if expected is None:
            return
        acknowledgements, is_part = expected
        answer = orjson.loads(reply.data or b'{"error": {"description": "there is no stream"}}')
        refused = answer.get("error")
        if refused is None:
            if is_part:
                acknowledgements.parts.append(answer["seq"])
            acknowledgements.take()
        else:
            hosts = self.address.hosts
            reason = f"the queue at {hosts}: {refused.get('description', 'a message was refused')}"
            is_full = refused.get("err_code") in _FULL
            acknowledgements.fail(QueueFull(reason) if is_full else QueueUnavailable(reason))
        if acknowledgements.is_over:
            self._waiting.discard(acknowledgements)

    async def _has_messages(self, subjects: str) -> bool:
        info = await self.connection.jetstream.stream_info(self.address.stream, subjects)
        return bool(info.state.subjects)

    async def _sources(self) -> dict[str, int]:
        info = await self.connection.jetstream.stream_info(self.address.stream, f"{STREAM}.>")
        subjects = [subject.split(".") for subject in info.state.subjects or {}]
        lanes = sorted(
            (parts[1], int(parts[2])) for parts in subjects if len(parts) == 3 and is_lane(parts[2])
        )
        return {source: lane + 1 for source, lane in lanes}

    async def _forget(self, subject: str, before: int) -> None:
        if self.address.keep:
            # By the clock that has stamped the messages.
            now = (await numbers_of(self.connection.client, self.address.stream)).now
            kept = now - timedelta(seconds=self.address.keep)
            before = min(before, await number_at(self.connection, self.address.stream, subject, kept))
        await self.connection.jetstream.purge_stream(self.address.stream, seq=before, subject=subject)

    async def _ends(self, source: str, lanes: Sequence[int]) -> dict[int, LaneState]:
        found = {lane: await self._last(self.address.subject(source, lane)) for lane in lanes}
        return {lane: end for lane, end in found.items() if end is not None}

    async def _last(self, subject: str) -> LaneState | None:
        from nats.js.errors import NotFoundError

        try:
            message = await self.connection.jetstream.get_last_msg(self.address.stream, subject)
        except NotFoundError:
            return None
        number = message.seq or 0
        info = await self.connection.jetstream.stream_info(self.address.stream, subject)
        left = (info.state.subjects or {}).get(subject, 0)
        for earlier in range(number, info.state.first_seq - 1, -1):
            if not left:
                break
            with suppress(NotFoundError):
                found = await self.connection.jetstream.get_msg(self.address.stream, earlier)
                # A message without an end is none of a publisher.
                left -= found.subject == subject
                end = end_in(found.headers)
                if found.subject == subject and end is not None:
                    return LaneState(end, number, (found.headers or {}).get(DIVISION_HEADER, ""))
        return LaneState(LanePosition(0), number)

    def _fail(self, failure: QueueUnavailable) -> None:
        for acknowledgements in self._waiting:
            acknowledgements.fail(failure)
        self._waiting.clear()
