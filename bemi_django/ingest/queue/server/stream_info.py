"""Ask a server what it says of a stream: not every version of the client passes all of it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from nats.aio.client import Client

#: Seconds that the server may take to answer.
_SECONDS = 5.0


async def info_of(client: Client, stream: str, *, has_deleted: bool = False) -> dict[str, Any]:
    """Return the settings and the state of a stream as its server sends them.

    Args:
        client: The client, in its thread.
        stream: The name of the stream.
        has_deleted: Whether to ask for the numbers of messages that were deleted between others.

    Raises:
        nats.errors.Error: The server does not answer, or has no such stream.
    """
    from nats.js.errors import APIError, NotFoundError

    asked = orjson.dumps({"deleted_details": has_deleted})
    message = await client.request(f"$JS.API.STREAM.INFO.{stream}", asked, timeout=_SECONDS)
    answer: dict[str, Any] = orjson.loads(message.data)
    if "error" in answer:
        kind = NotFoundError if answer["error"].get("code") == 404 else APIError
        raise kind(**{name: answer["error"].get(name) for name in ("code", "description", "err_code")})
    return answer
