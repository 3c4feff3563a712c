"""Keep changes that were published to be divided in one way from being divided in another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg2

from bemi_django.exceptions import QueueUnavailable, ReplicationError, first_line
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.destination.lanes import LaneState
from bemi_django.ingest.queue.backlog import Backlog
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.message.chunk import Chunk
from bemi_django.ingest.stream.connections import connect_destination
from bemi_django.wire.division import destinations_in, is_division

_FOREIGN = (
    "the queue has changes of {source} that were published with another BEMI_DESTINATIONS than that of this "
    "consumer: for {published}. Let consumers with the publisher's setting write them; when a setting has "
    "changed, first those with the former one"
)
_BEHIND = (
    "the queue has changes of {source} that were published with another BEMI_DESTINATIONS, and {name} lacks "
    "some of them: waiting until consumers with that setting have written them (run 'manage.py bemi consume')"
)


def is_of_another(chunk: Chunk, config: WorkerConfig) -> bool:
    """Return whether a consumer would divide a chunk in another way than it was published to be divided.

    If it was published before this destination was one, there is nothing to divide: it has no change of it.

    Args:
        chunk: The chunk.
        config: What the consumer works on.
    """
    divided = config.divided
    if chunk.division == config.division or divided is None:
        return chunk.division != config.division
    return divided.name in destinations_in(chunk.division) if chunk.division else divided.is_first


def require_same(others: Sequence[Chunk]) -> None:
    """Check that there are no chunks that were published to be divided in another way.

    Raises:
        ReplicationError: There are.
    """
    for chunk in others:
        published = ", ".join(destinations_in(chunk.division)) or "one log"
        raise ReplicationError(_FOREIGN.format(source=chunk.source, published=published))


class FormerDivision:
    """Lets a publisher with another division wait until all that was published before is written.

    Consumers know the destinations of one division, and remove from the queue what these have.

    Args:
        broker: The connection to the queue.
        backlog: What the queue has of the source.
        config: What the publisher works on, with the name of its slot.
    """

    def __init__(self, broker: Broker, backlog: Backlog, config: WorkerConfig) -> None:
        self._broker, self._backlog, self._config = broker, backlog, config

    def require_written(self) -> None:
        """Check that each destination of another division has what was published with it.

        Raises:
            QueueUnavailable: One of them lacks some of it, or cannot be reached.
            ReplicationError: One of them is not known.
        """
        source = self._config.slot
        ends = {
            # Messages that are none of a publisher are no reason to wait.
            lane: end
            for lane, end in self._broker.ends(source, range(self._broker.sources().get(source, 0))).items()
            if end.position.sequence and is_division(end.division)
        }
        found = {end.division for end in ends.values()}
        formers = found - {self._config.division}
        for former in sorted(formers):
            of_former = {lane: end for lane, end in ends.items() if end.division == former}
            for name in destinations_in(former) or [""]:
                if not self._is_written(name, of_former):
                    said = name or "the log"
                    raise QueueUnavailable(_BEHIND.format(source=source, name=said))

    def _is_written(self, name: str, ends: dict[int, LaneState]) -> bool:
        try:
            with closing(self._connect(name)) as connection, connection, connection.cursor() as cursor:
                states = lanes.read(cursor, self._config.slot)
                histories = Histories(self._config.slot).read(cursor)
        except psycopg2.OperationalError as error:
            raise QueueUnavailable(f"the destination {name} cannot be asked: {first_line(error)}") from error
        backlog, log = self._backlog, (states, histories)
        return set(ends) <= set(states) and not backlog.is_writable(*log) and not backlog.has_turn(*log)

    def _connect(self, name: str) -> Any:
        """Connect to a destination by its name; without one, that of the publisher."""
        config = self._config
        if name and config.ask_destination is not None:
            return psycopg2.connect(**config.ask_destination(name))
        return connect_destination(config)
