"""Parts of a chunk that a publisher was killed before it had sent all of: no consumer can use them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.message.headers import PART_HEADER


def discard_leftovers(broker: Broker, source: str, lanes: Sequence[int]) -> None:
    """Remove the parts at the ends of lanes whose chunks come again, and which take the room of these.

    Only the publisher of the source may call it: nobody else knows that the other parts do not come.

    Args:
        broker: The connection to the queue.
        source: The name of the slot.
        lanes: The numbers of its lanes.

    Raises:
        QueueUnavailable: The queue does not answer.
    """
    for lane in lanes:
        while broker.connection.run(_discard_last(broker, broker.address.subject(source, lane))):
            """There may be another one before it."""


async def _discard_last(broker: Broker, subject: str) -> bool:
    """Remove the last message of a lane if it is such a part; return whether it was."""
    from nats.js.errors import NotFoundError

    jetstream, stream = broker.connection.jetstream, broker.address.stream
    # Consumers remove what was written meanwhile.
    with suppress(NotFoundError):
        message = await jetstream.get_last_msg(stream, subject)
        number, _, last = (message.headers or {}).get(PART_HEADER, "1/1").partition("/")
        if number != last:
            await jetstream.delete_msg(stream, message.seq or 0)
            return True
    return False
