"""Ask a server what it says of a stream: not every version of the client passes all of it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from bemi_django.ingest.queue.server.connection import Connection
from bemi_django.wire.queue_address import QueueAddress

if TYPE_CHECKING:
    from nats.aio.client import Client

#: Seconds that the server may take to answer.
_SECONDS = 5.0


async def info_of(
    client: Client, stream: str, *, has_deleted: bool = False, subjects: str = ""
) -> dict[str, Any]:
    """Return the settings and the state of a stream as its server sends them.

    Args:
        client: The client, in its thread.
        stream: The name of the stream.
        has_deleted: Whether to ask for the numbers of messages that were deleted between others.
        subjects: Of which subjects to ask for the number of messages; none if it is empty.

    Raises:
        nats.errors.Error: The server does not answer, or has no such stream.
    """
    from nats.js.errors import APIError, NotFoundError

    asked = orjson.dumps({"deleted_details": has_deleted, "subjects_filter": subjects})
    message = await client.request(f"$JS.API.STREAM.INFO.{stream}", asked, timeout=_SECONDS)
    answer: dict[str, Any] = orjson.loads(message.data)
    if "error" in answer:
        kind = NotFoundError if answer["error"].get("code") == 404 else APIError
        raise kind(**{name: answer["error"].get(name) for name in ("code", "description", "err_code")})
    return answer


class Room(NamedTuple):
    """How many bytes a stream may have, or -1 for as many as its server lets it, and how many it has."""

    most: int
    taken: int

    def has(self, size: int) -> bool:
        """Return whether so many bytes more fit in."""
        return self.most < 0 or self.taken + size <= self.most


async def room_of(client: Client, stream: str) -> Room:
    """Return how much room there is in a stream; see :func:`info_of`."""
    info = await info_of(client, stream)
    return Room(int(info["config"].get("max_bytes") or -1), int(info["state"]["bytes"]))


def messages_of(address: QueueAddress, subjects: str) -> dict[str, int]:
    """Return the numbers of messages that the stream of an address has of subjects.

    Raises:
        QueueUnavailable: No server can be reached, or it has no such stream.
        ReplicationError: The extra is not installed.
    """
    connection = Connection(address, lambda failure: None)
    try:
        info = connection.run(info_of(connection.client, address.stream, subjects=subjects))
    finally:
        connection.close()
    return dict(info["state"].get("subjects") or {})
