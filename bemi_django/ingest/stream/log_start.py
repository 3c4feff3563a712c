"""Find the position at which a stream continues the log, with the publication that it reads."""

from __future__ import annotations

from typing import Any

from bemi_django.exceptions import Disrupted, LostHistory, NotInstalled
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.ingest.stream import slot as slots
from bemi_django.ingest.stream.continuation import Continuation
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.ingest.stream.timelines import Switch

_ORIGIN = """
SELECT coalesce((SELECT oid::bigint FROM pg_publication WHERE pubname = %s), 0), oid::bigint
FROM pg_database WHERE datname = current_database()
"""


class LogStart:
    """Finds where a worker begins to read.

    Args:
        server: A plain connection to the source, in autocommit.
        source: The replication stream, which has not begun.
        destination: A connection to the destination.
        config: What the worker works on, with the name of its slot.
        database: The name of the source's database.
    """

    def __init__(
        self, server: Any, source: SlotSource, destination: Any, config: WorkerConfig, database: str
    ) -> None:
        self._server, self._source, self._destination = server, source, destination
        self._config = config
        self._database = database
        self.system_identifier, self._timeline = source.identify()

    def find(self, number: int) -> int:
        """Return the position, in bytes; the slot is created where it has to be.

        Args:
            number: The number of the source in the ids of its changes.

        Raises:
            LostHistory: The slot does not continue there, and a gap was not accepted.
        """
        config, slot = self._config, slots.find(self._server, self._config.slot)
        continuation = Continuation(self._server, self._destination, config, self._database, number)
        checkpoint = continuation.read_checkpoint()
        self._origin = self._find_origin()
        if slot is not None and slot.is_failover is (not config.failover) and not slot.is_lost:
            self._source.synchronise_slot(config.slot, failover=config.failover)
        if checkpoint is None:
            is_republished = self._publish()
            start = continuation.begin(self._origin, slot, is_republished)
        else:
            switches = self._read_switches(checkpoint.origin)
            branch, gap = continuation.judge(checkpoint, self._origin, slot, switches)
            if gap is None:
                start = continuation.follow(checkpoint, branch, self._origin)
            elif config.accept_gap:
                self._publish()
                start = continuation.accept(gap, branch, self._origin, slot)
            else:
                raise LostHistory(f"{gap}. {LostHistory.__doc__}")
        #: The histories of the log, the oldest first, and what writes to it.
        self.histories, self.copier = continuation.histories(start), continuation.copier
        return start

    def require_publication(self) -> None:
        """Check that the publication is the one that the stream has begun with.

        Raises:
            Disrupted: The publication was dropped.
        """
        if self._find_origin() != self._origin:
            raise Disrupted(f"the publication {self._config.publication} was dropped")

    def _read_switches(self, known: Origin) -> list[Switch]:
        is_promoted = known[:2] != self._origin[:2] and known.system_identifier == self.system_identifier
        return self._source.timeline_history(self._timeline) if is_promoted else []

    def _find_origin(self) -> Origin:
        with self._server.cursor() as cursor:
            cursor.execute(_ORIGIN, [self._config.publication])
            return Origin(self.system_identifier, self._timeline, *cursor.fetchone())

    def _publish(self) -> bool:
        """Create the publication if it is missing, and return whether it was."""
        if self._origin.publication:
            return False
        if self._config.publish is not None:
            self._config.publish()
            self._origin = self._find_origin()
        if not self._origin.publication:
            name = self._config.publication
            raise NotInstalled(f"the publication {name} is missing: run 'manage.py bemi sync'")
        return True
