"""A connection to NATS JetStream, in a thread of its own: the rest of the process has no event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from bemi_django.exceptions import QueueFull, QueueUnavailable, ReplicationError
from bemi_django.ingest.queue.acknowledgements import Acknowledgements, Outgoing
from bemi_django.ingest.queue.stream_config import require_stream
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.queue_address import STREAM, QueueAddress

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.client import JetStreamContext

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

#: The headers of a message: where its chunk ends, and which of how many parts of the chunk it is.
END_HEADER, PART_HEADER = "Bemi-End", "Bemi-Part"
_CONNECT_SECONDS = 5.0
#: Seconds that the server may take to answer a question.
ANSWER_SECONDS = 10.0
#: A message of the server is at most so large; the default of NATS.
_HEADERS = 4096
#: Codes of errors: no room in the stream, or for all streams.
_FULL = (10023, 10047, 10077)


class Broker:
    """A connection to the servers of an address.

    Args:
        address: Where the queue is.

    Raises:
        QueueUnavailable: No server can be reached.
        ReplicationError: The extra is not installed, or the stream is not fit for use.
    """

    def __init__(self, address: QueueAddress) -> None:
        if find_spec("nats") is None:
            raise ReplicationError("a queue needs nats-py: install bemi-django-wal[nats]")
        self.address = address
        #: Why the connection is of no use any more; None while it is.
        self.failure: QueueUnavailable | None = None
        self._waiting: set[Acknowledgements] = set()
        self._expected: dict[int, Acknowledgements] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="bemi-queue", daemon=True)
        self._thread.start()
        self._client: Client | None = None
        try:
            self.run(self._connect())
            #: The number of replicas of the stream.
            self.replicas = self.run(require_stream(self._jetstream, address.stream))
        except BaseException:
            self.close()
            raise

    @property
    def jetstream(self) -> JetStreamContext:
        """The context of the connection, for use in its thread."""
        return self._jetstream

    @property
    def largest(self) -> int:
        """The number of bytes that a message may have."""
        return int(self._connected.max_payload) - _HEADERS

    @property
    def _connected(self) -> Client:
        assert self._client is not None
        return self._client

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the thread of the connection, and wait for it.

        Raises:
            QueueUnavailable: The server does not answer, or refuses.
        """
        import nats.errors

        waiting = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, 2 * ANSWER_SECONDS), self.loop)
        try:
            return waiting.result()
        except (nats.errors.Error, OSError, asyncio.TimeoutError) as error:
            raise self._unavailable(error) from error

    def publish(self, messages: Sequence[Outgoing], acknowledgements: Acknowledgements) -> None:
        """Begin to publish messages in their order."""
        self.loop.call_soon_threadsafe(self._begin, messages, acknowledgements)

    def published(self, source: str) -> int:
        """Return where the last message of a source ends, as a sequence number; 0 if there is none.

        Messages before it may end later: a publisher that was interrupted begins anew.
        """
        found = self.run(self._last(f"{STREAM}.{source}.*"))
        return 0 if found is None else found.sequence

    def ends(self, source: str, lanes: Sequence[int]) -> dict[int, LanePosition]:
        """Return the end of the last chunk of each lane that has one in the queue."""
        return self.run(self._ends(source, lanes))

    def forget(self, source: str, lane: int, before: int) -> None:
        """Remove the messages of a lane whose number is smaller than ``before``."""
        subject = self.address.subject(source, lane)
        self.run(self._jetstream.purge_stream(self.address.stream, seq=before, subject=subject))

    def raise_if_lost(self) -> None:
        """Raise why the connection is of no use any more, if it is not.

        Raises:
            QueueUnavailable: The connection was lost.
        """
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Close the connection, and end its thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _connect(self) -> None:
        import nats

        async def lost(*_: object) -> None:
            self._lose(QueueUnavailable(f"the connection to the queue at {self.address.hosts} was lost"))

        async def note(error: Exception) -> None:
            # What is wrong is raised where it matters; its message could hold an address with a password.
            logger.debug("the queue: %s", type(error).__name__)

        # Batches are published one after another.
        self._turn = asyncio.Lock()
        # A session that is interrupted begins anew, with what was not acknowledged.
        self._client = await nats.connect(
            list(self.address.servers),
            allow_reconnect=False,
            connect_timeout=int(_CONNECT_SECONDS),
            max_reconnect_attempts=1,
            reconnect_time_wait=0.1,
            disconnected_cb=lost,
            closed_cb=lost,
            error_cb=note,
            max_outstanding_pings=2,
            ping_interval=5,
        )
        self._jetstream = self._client.jetstream(timeout=ANSWER_SECONDS)
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._take_reply)

    def _begin(self, messages: Sequence[Outgoing], acknowledgements: Acknowledgements) -> None:
        self._waiting.add(acknowledgements)
        if self.failure is not None:
            acknowledgements.fail(self.failure)
            return
        task = self.loop.create_task(self._publish(messages, acknowledgements))
        # The loop itself keeps only a weak reference.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, messages: Sequence[Outgoing], acknowledgements: Acknowledgements) -> None:
        client = self._connected
        try:
            async with self._turn:
                for message in messages:
                    self._number += 1
                    self._expected[self._number] = acknowledgements
                    headers = {
                        "Nats-Msg-Id": message.identifier,
                        "Nats-Expected-Stream": self.address.stream,
                        END_HEADER: f"{message.end.sequence}.{message.end.ordinal}",
                        PART_HEADER: message.part,
                    }
                    reply = f"{self._inbox}.{self._number}"
                    await client.publish(message.subject, message.payload, reply=reply, headers=headers)
        except Exception as error:
            acknowledgements.fail(self._unavailable(error))

    async def _take_reply(self, reply: Msg) -> None:
        """Take an answer to a published message: it is stored, or it is not."""
        acknowledgements = self._expected.pop(int(reply.subject.rpartition(".")[2]), None)
        if acknowledgements is None:
            return
        refused = (
            orjson.loads(reply.data).get("error") if reply.data else {"description": "there is no stream"}
        )
        if refused is None:
            acknowledgements.take()
        else:
            hosts = self.address.hosts
            reason = f"the queue at {hosts}: {refused.get('description', 'a message was refused')}"
            is_full = refused.get("err_code") in _FULL
            acknowledgements.fail(QueueFull(reason) if is_full else QueueUnavailable(reason))
        if acknowledgements.is_over:
            self._waiting.discard(acknowledgements)

    async def _ends(self, source: str, lanes: Sequence[int]) -> dict[int, LanePosition]:
        found = {lane: await self._last(self.address.subject(source, lane)) for lane in lanes}
        return {lane: end for lane, end in found.items() if end is not None}

    async def _last(self, subject: str) -> LanePosition | None:
        from nats.js.errors import NotFoundError

        try:
            message = await self._jetstream.get_last_msg(self.address.stream, subject)
        except NotFoundError:
            return None
        sequence, _, ordinal = (message.headers or {}).get(END_HEADER, "0.0").partition(".")
        return LanePosition(int(sequence), int(ordinal))

    def _unavailable(self, error: BaseException) -> QueueUnavailable:
        # The text of errors of the server names its limits, and no content.
        description = getattr(error, "description", None) or type(error).__name__
        return QueueUnavailable(f"the queue at {self.address.hosts}: {description}")

    def lose(self, error: Exception) -> None:
        """Note, in the thread of the connection, why it is of no use any more."""
        self._lose(self._unavailable(error))

    def _lose(self, failure: QueueUnavailable) -> None:
        self.failure = self.failure or failure
        for acknowledgements in self._waiting:
            acknowledgements.fail(failure)
        self._waiting.clear()

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
