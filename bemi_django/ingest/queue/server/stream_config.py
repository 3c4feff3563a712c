"""The stream of a queue: made if it is missing, it must not lose changes, or hold them up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.queue.server.connection import Connection
from bemi_django.wire.queue_address import STREAM, QueueAddress

if TYPE_CHECKING:
    from nats.js.api import StreamConfig
    from nats.js.client import JetStreamContext

logger = logging.getLogger(__name__)


async def require_stream(jetstream: JetStreamContext, name: str, replicas: int = 1) -> int:
    """Make the stream unless it is there, check it, and return the number of its replicas.

    Args:
        jetstream: The context of a connection.
        name: The name of the stream.
        replicas: The number of replicas of a stream that is made.

    Raises:
        ReplicationError: The stream would lose changes, or hold them up.
        nats.errors.Error: The server does not answer, or refuses.
    """
    from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
    from nats.js.errors import NotFoundError

    try:
        info = await jetstream.stream_info(name)
    except NotFoundError:
        info = await jetstream.add_stream(
            StreamConfig(
                name=name,
                subjects=[f"{STREAM}.>"],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                num_replicas=replicas,
            )
        )
        logger.info("created the stream %s", name)
    if missing := lacking(info.config):
        needed = ", ".join(missing)
        raise ReplicationError(f"the stream {name} would lose changes or hold them up: it needs {needed}")
    return info.config.num_replicas or 1


def lacking(config: StreamConfig) -> list[str]:
    """Return the settings without which a stream would lose changes, and which it has not, in words."""
    from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType

    wanted = {
        f"subjects {STREAM}.>": bool({f"{STREAM}.>", ">"}.intersection(config.subjects or ())),
        "retention limits": config.retention == RetentionPolicy.LIMITS,
        "storage file": config.storage == StorageType.FILE,
        "discard new": config.discard == DiscardPolicy.NEW,
        "no max_age": not config.max_age,
        "no max_msgs_per_subject": (config.max_msgs_per_subject or -1) < 0,
        # Others would never get on: publishers with a large change, or without an answer, and consumers that
        # cannot read all lanes, or remove nothing.
        "no max_msg_size": (config.max_msg_size or -1) < 0,
        "no max_consumers": (config.max_consumers or -1) < 0,
        "acknowledgements": not config.no_ack,
        "purges": not config.deny_purge,
    }
    return [name for name, is_met in wanted.items() if not is_met]


class StreamFitness(NamedTuple):
    """What a stream is: its replicas, and the settings that it lacks, in words."""

    replicas: int
    lacking: list[str]


def examine_stream(address: QueueAddress) -> StreamFitness | None:
    """Return what the stream of an address is, or None if it is to be made; nothing is changed.

    Raises:
        QueueUnavailable: No server can be reached, or it has no JetStream.
        ReplicationError: The extra is not installed.
    """
    connection = Connection(address, lambda failure: None)
    try:
        return connection.run(_examine(connection.jetstream, address.stream))
    finally:
        connection.close()


async def _examine(jetstream: JetStreamContext, name: str) -> StreamFitness | None:
    from nats.js.errors import NotFoundError

    try:
        config = (await jetstream.stream_info(name)).config
    except NotFoundError:
        return None
    return StreamFitness(config.num_replicas or 1, lacking(config))


def warn_of_durability(name: str, replicas: int) -> None:
    """Warn if what one server has acknowledged may be lost with its machine; servers do not tell if it is."""
    if replicas < 3:
        logger.warning(
            "the stream %s has fewer than 3 replicas: what its server has acknowledged may be lost when its "
            "machine fails, unless sync_interval is always in the server's configuration; set it and add "
            "?sync=always to the address of the queue, or give the stream 3 replicas",
            name,
        )
