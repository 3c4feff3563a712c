"""The stream of a queue: made if it is missing, it must not lose changes, or hold them up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bemi_django.exceptions import QueueUnavailable, ReplicationError
from bemi_django.ingest.queue.server.connection import Connection
from bemi_django.ingest.queue.server.stream_info import info_of
from bemi_django.wire.queue_address import STREAM, QueueAddress

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.api import StreamConfig

#: The settings of a stream, as its server sends them.
Config = Mapping[str, Any]

#: The server's number of the error that two streams have a subject.
_OVERLAP = 10065
#: Seconds between two looks at the stream.
_LOOK = 5.0
logger = logging.getLogger(__name__)


async def require_stream(connection: Connection, name: str, replicas: int = 1) -> int:
    """Make the stream unless it is there, check it, and return the number of its replicas.

    Args:
        connection: A connection to its server.
        name: The name of the stream.
        replicas: The number of replicas of a stream that is made.

    Raises:
        ReplicationError: The stream would lose changes, or hold them up.
        nats.errors.Error: The server does not answer, or refuses.
    """
    from nats.js.errors import NotFoundError

    try:
        config = await _config_of(connection.client, name)
    except NotFoundError:
        await _make(connection, name, replicas)
        config = await _config_of(connection.client, name)
    if missing := lacking(config):
        needed = ", ".join(missing)
        raise ReplicationError(f"the stream {name} would lose changes or hold them up: it needs {needed}")
    return _replicas(config)


async def watch(connection: Connection, name: str) -> None:
    """Give a connection up when the stream is another one, or has other settings, than a session has checked.

    The next session checks it again, and says what is wrong.
    """
    import nats.errors
    from nats.js.errors import NotFoundError

    checked: tuple[str, int, list[str]] | None = None
    while True:
        found = checked
        try:
            info = await info_of(connection.client, name)
            found = info["created"], _replicas(info["config"]), lacking(info["config"])
        except NotFoundError:
            found = None
        except (nats.errors.Error, asyncio.TimeoutError):
            # Whoever waits for an answer says so.
            pass
        checked = checked or found
        if found != checked or found and found[-1]:
            connection.lose(QueueUnavailable(f"the stream {name} of the queue was changed, or made again"))
            return
        await asyncio.sleep(_LOOK)


async def _make(connection: Connection, name: str, replicas: int) -> None:
    from nats.js.errors import APIError

    try:
        await connection.jetstream.add_stream(_new_stream(name, replicas))
    except APIError as error:
        if error.err_code != _OVERLAP:
            raise
        raise ReplicationError(
            f"there is no stream {name}, and it cannot be made: another stream has the subjects {STREAM}.>. "
            "Give the name of that one in the address"
        ) from error
    logger.info("created the stream %s", name)


def _new_stream(name: str, replicas: int) -> StreamConfig:
    from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

    return StreamConfig(
        name=name,
        subjects=[f"{STREAM}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        num_replicas=replicas,
    )


async def _config_of(client: Client, name: str) -> Config:
    found: Config = (await info_of(client, name))["config"]
    return found


def _replicas(config: Config) -> int:
    return int(config.get("num_replicas") or 1)


def lacking(config: Config) -> list[str]:
    """Return the settings without which a stream would lose changes, and which it has not, in words."""
    wanted = {
        "no mirror": not config.get("mirror"),
        f"subjects {STREAM}.>": bool({f"{STREAM}.>", ">"}.intersection(config.get("subjects") or ())),
        "retention limits": config.get("retention") == "limits",
        "storage file": config.get("storage") == "file",
        "discard new": config.get("discard") == "new",
        "no max_age": not config.get("max_age"),
        "no max_msgs_per_subject": (config.get("max_msgs_per_subject") or -1) < 0,
        # What is acknowledged would not even be with the operating system.
        "no persist_mode async": config.get("persist_mode") != "async",
        # Others would never get on: publishers with a large change, or without an answer, and consumers that
        # cannot read all lanes, or remove nothing.
        "no max_msg_size": (config.get("max_msg_size") or -1) < 0,
        "no max_consumers": (config.get("max_consumers") or -1) < 0,
        "acknowledgements": not config.get("no_ack"),
        "purges": not config.get("deny_purge"),
        "no sealing": not config.get("sealed"),
        "no subject_transform": not config.get("subject_transform"),
        "no consumer_limits": not any((config.get("consumer_limits") or {}).values()),
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
        return connection.run(_examine(connection.client, address.stream))
    finally:
        connection.close()


async def _examine(client: Client, name: str) -> StreamFitness | None:
    from nats.js.errors import NotFoundError

    try:
        config = await _config_of(client, name)
    except NotFoundError:
        return None
    return StreamFitness(_replicas(config), lacking(config))


def warn_of_durability(name: str, replicas: int) -> None:
    """Warn if what one server has acknowledged may be lost with its machine; servers do not tell if it is."""
    if replicas < 3:
        logger.warning(
            "the stream %s has fewer than 3 replicas: what its server has acknowledged may be lost when its "
            "machine fails, unless sync_interval is always in the server's configuration; set it and add "
            "?sync=always to the address of the queue, or give the stream 3 replicas",
            name,
        )
