"""A connection to NATS JetStream, in a thread of its own: the rest of the process has no event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Set
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from bemi_django.exceptions import QueueUnavailable, ReplicationError
from bemi_django.wire.queue_address import QueueAddress

if TYPE_CHECKING:
    from concurrent.futures import Future

    from nats.aio.client import Client
    from nats.js.client import JetStreamContext

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
#: What errors of the client mean, by the names of their classes.
_MEANINGS = {
    "NoServersError": "no server can be reached there: does it run, and are host and port right?",
    "NoRespondersError": "it has no JetStream: start it with -js, or with jetstream in its configuration",
    "TimeoutError": "it does not answer",
    "ConnectionClosedError": "the connection to it was lost",
}
#: Seconds that the end of a connection may take.
_CLOSE_SECONDS = 2.0
#: Seconds that the server may take to answer a request: it does not answer while no server leads the stream.
_ANSWER_SECONDS = 5.0
#: Seconds after which a task that has not ended is cancelled again.
_AGAIN_SECONDS = 0.005


class Connection:
    """A connection to the servers of an address.

    Args:
        address: Where the queue is.
        lost: Called in the thread of the connection when it is of no use any more.

    Raises:
        QueueUnavailable: No server can be reached.
        ReplicationError: The extra is not installed.
    """

    def __init__(self, address: QueueAddress, lost: Callable[[QueueUnavailable], object]) -> None:
        if find_spec("nats") is None:
            raise ReplicationError("a queue needs nats-py: install bemi-django-wal[nats]")
        self.address = address
        #: Why the connection is of no use any more; None while it is.
        self.failure: QueueUnavailable | None = None
        #: The number of lanes that are read.
        self.lanes = 0
        self._lost = lost
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="bemi-queue", daemon=True)
        self._thread.start()
        self._client: Client | None = None
        try:
            self.run(self._connect())
        except BaseException:
            self.close()
            raise

    @property
    def client(self) -> Client:
        """The client, for use in the thread of the connection."""
        assert self._client is not None
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """The JetStream context, for use in the thread of the connection."""
        return self._jetstream

    def begin(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run a coroutine in the thread of the connection, for a limited time."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, 4 * _ANSWER_SECONDS), self.loop)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the thread of the connection, and wait for it.

        Raises:
            QueueUnavailable: The server does not answer, or refuses.
        """
        import nats.errors

        waiting = self.begin(work)
        try:
            return waiting.result()
        except (nats.errors.Error, OSError, asyncio.TimeoutError) as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: BaseException) -> QueueUnavailable:
        """Return the error that says so, or why the connection was lost, of which it is a consequence."""
        if self.failure is not None:
            return self.failure
        # The text of errors of the server names its limits, and no content.
        name = type(error).__name__
        description = getattr(error, "description", None) or _MEANINGS.get(name, name)
        if "authorization violation" in str(error).lower():
            description = "it refuses the user or the password of the address"
        if "expecting info" in str(error).lower():
            description = (
                "it does not answer as nats-server does: is the port right, and handshake_first not true?"
            )
        return QueueUnavailable(f"the queue at {self.address.hosts}: {description}")

    def lose(self, failure: QueueUnavailable) -> None:
        """Note, in the thread of the connection, why it is of no use any more."""
        self.failure = self.failure or failure
        self._lost(failure)

    def close(self) -> None:
        """Close the connection, and end its thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _connect(self) -> None:
        from bemi_django.ingest.queue.server.encrypted_client import encrypted_client

        async def lost(*_: object) -> None:
            self.lose(QueueUnavailable(f"the connection to the queue at {self.address.hosts} was lost"))

        async def note(error: Exception) -> None:
            if "permissions violation" in str(error).lower():
                # It names a subject. Otherwise, an answer would be waited for that does not come.
                self.lose(QueueUnavailable(f"the queue at {self.address.hosts} refuses a right: {error}"))
            # What else is wrong is raised where it matters; its message could hold an address and a password.
            logger.debug("the queue: %s", type(error).__name__)

        # A session that is interrupted begins anew, with what was not acknowledged.
        # It is closed where it cannot connect, too: a server that refuses a password has a connection.
        self._client = encrypted_client()
        await self._client.connect(
            list(self.address.servers),
            allow_reconnect=False,
            connect_timeout=int(_CONNECT_SECONDS),
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            disconnected_cb=lost,
            closed_cb=lost,
            error_cb=note,
            max_outstanding_pings=2,
            ping_interval=5,
            **_credentials_of(self.address.servers[0]),
        )
        self._jetstream = self._client.jetstream(timeout=_ANSWER_SECONDS)

    async def _close(self) -> None:
        if self._client is not None:
            # It waits for ever for the end of a connection whose certificate was refused.
            with suppress(asyncio.TimeoutError, OSError):
                await asyncio.wait_for(self._client.close(), _CLOSE_SECONDS)
        await end(asyncio.all_tasks() - {asyncio.current_task()})


async def end(tasks: Set[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: before Python 3.12, ``asyncio.wait_for()`` returns if what it waits for is done when
    it is cancelled, and the client goes on where it is cancelled while it flushes.
    """
    while tasks:
        for task in tasks:
            task.cancel()
        ended, tasks = await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
        await asyncio.gather(*ended, return_exceptions=True)


def _credentials_of(server: str) -> dict[str, Any]:
    """Return the credentials of an address as they are meant: the client would send ``%2F`` for a slash."""
    parts = urlsplit(server)
    if parts.username is None:
        return {}
    if parts.password is None:
        return {"token": unquote(parts.username)}
    return {"user": unquote(parts.username), "password": unquote(parts.password)}
