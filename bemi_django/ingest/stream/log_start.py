"""Find the position at which a stream continues the log, with the publication that it reads."""

from __future__ import annotations

import logging
from typing import Any

from bemi_django.exceptions import (
    Disrupted,
    LostHistory,
    NotInstalled,
    QueueUnavailable,
    ReplicationError,
)
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.checkpoint import Checkpoint, Checkpoints, Origin
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.stream import slot as slots
from bemi_django.ingest.stream.continuation import Continuation
from bemi_django.ingest.stream.reach import Queued, reach_of, with_queued
from bemi_django.ingest.stream.slot import Slot
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.ingest.stream.timelines import Switch
from bemi_django.wire.sequence import HistoryStart, history_of, lsn_of, sequence_at

logger = logging.getLogger(__name__)

_ORIGIN = """
SELECT coalesce((SELECT oid::bigint FROM pg_publication WHERE pubname = %s), 0), oid::bigint
FROM pg_database WHERE datname = current_database()
"""


_BEHIND = "{reason}: waiting until consumers have written what the queue has (run 'manage.py bemi consume')"
_UNFINISHED = (
    "the queue has changes of this database that are not in the log yet: run 'manage.py bemi consume' until "
    "it has written them, or 'manage.py bemi run --to' to go on with the queue"
)
_BEGINS = (
    "%s begins with what is committed from now on: 'manage.py bemi run --to ... --baseline', or 'manage.py "
    "bemi baseline --to' with its address beside this, also gives it the rows that are there"
)
_FOREIGN = (
    "{name} has changes of which the checkpoint of the slot {slot} knows nothing: move them away, or give "
    "another address"
)


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
        self._is_anew = True
        #: The number of lanes of the queue; 0 without one.
        self.lanes = 0

    def find(
        self, number: int, exported: int = 0, queued: Queued | None = None, *, is_wal_missing: bool = False
    ) -> int:
        """Return the position, in bytes; the slot is created where it has to be.

        Args:
            number: The number of the source in the ids of its changes.
            exported: The sequence number up to which an export has the changes; 0 for none.
            queued: What the queue has, if there is one.
            is_wal_missing: Whether the server does not have the WAL that the slot needs.

        Raises:
            LostHistory: The slot does not continue there, and a gap was not accepted.
            QueueUnavailable: The log has to have what the queue has first.
        """
        config, slot = self._config, slots.find(self._server, self._config.slot)
        if slot is not None and is_wal_missing:
            slot = slot._replace(is_lost=True)
        continuation = Continuation(self._server, self._destination, config, self._database, number)
        if config.queue is not None:
            # A consumer may have been killed after it has written.
            with self._destination, self._destination.cursor() as cursor:
                lanes.move_checkpoint(cursor, config.slot)
        checkpoint = continuation.read_checkpoint()
        if config.export is not None and exported:
            checkpoint = self._at_export(config.export.name, checkpoint, exported)
        #: What the positions of the stream belong to.
        self.origin = self._find_origin()
        if slot is not None and slot.is_failover is (not config.failover) and not slot.is_lost:
            self._source.synchronise_slot(config.slot, failover=config.failover)
        if checkpoint is None:
            is_republished = self._publish()
            start = continuation.begin(self.origin, slot, is_republished)
            if config.export is not None:
                logger.info(_BEGINS, config.export.name)
        else:
            start = self._continue(continuation, checkpoint, slot, queued)
        #: The histories of the log, the oldest first, and what writes to it.
        self.histories, self.copier = continuation.histories(start), continuation.copier
        self.gaps = continuation.gaps
        if config.queue is not None:
            end = start if checkpoint is None or self._is_anew else checkpoint.lsn
            with self._destination, self._destination.cursor() as cursor:
                is_queued = queued is not None and not queued.is_empty
                lanes.begin(cursor, config.slot, config.queue.lanes, end, self.histories, is_queued=is_queued)
            self.lanes = self._count_lanes()
        return start

    def _continue(
        self, continuation: Continuation, checkpoint: Checkpoint, slot: Slot | None, queued: Queued | None
    ) -> int:
        """Return where a log that has begun goes on; see :meth:`find`."""
        config = self._config
        histories, states = self._read_lanes()
        if config.queue is None:
            self._require_written(checkpoint, slot, histories, states)
        positions = [state.position for state in states.values()]
        logged = reach_of(positions, histories)
        reach = logged if queued is None else reach_of(with_queued(states, queued), histories)
        continuation.reached = reach.fastest
        known = checkpoint._replace(lsn=max(checkpoint.lsn, reach.slowest))
        switches = self._read_switches(checkpoint.origin)
        branch, gap = continuation.judge(known, self.origin, slot, switches)
        self._is_anew = gap is not None or bool(branch.left)
        if not self._is_anew and slot is not None:
            # What the queue has acknowledged was confirmed; without a queue, the log's end is not before it.
            return max(checkpoint.lsn, slot.confirmed) if config.queue else branch.common
        if queued is not None:
            # What consumers write may have been removed from the queue in the meantime.
            if queued.is_writable(states, histories) or self._read_lanes() != (histories, states):
                raise QueueUnavailable(_BEHIND.format(reason=gap or "the server was promoted or restored"))
            checkpoint = checkpoint._replace(lsn=max(checkpoint.lsn, logged.slowest))
            branch, gap = continuation.judge(checkpoint, self.origin, slot, switches)
        if gap is None:
            return continuation.follow(checkpoint, branch, self.origin)
        if not config.accept_gap:
            raise LostHistory(f"{gap}. {LostHistory.__doc__}")
        self._publish()
        return continuation.accept(gap, branch, self.origin, slot)

    def _read_lanes(self) -> tuple[list[HistoryStart], dict[int, lanes.LaneState]]:
        config = self._config
        with self._destination, self._destination.cursor() as cursor:
            is_readable = config.queue is not None or lanes.may_read(cursor)
            found = lanes.read(cursor, config.slot) if is_readable else {}
            return Histories(config.slot).read(cursor), found

    @staticmethod
    def _require_written(
        checkpoint: Checkpoint,
        slot: Slot | None,
        histories: list[HistoryStart],
        states: dict[int, lanes.LaneState],
    ) -> None:
        """Check that the log has what a queue has, where there is to be none.

        Raises:
            ReplicationError: It has not.
        """
        # Changes of an unfinished cut are in some of the lanes.
        is_ahead = lanes.are_ahead(states, sequence_at(histories, checkpoint.lsn))
        if states and slot is not None and (is_ahead or slot.confirmed > checkpoint.lsn):
            raise ReplicationError(_UNFINISHED)

    def _at_export(self, name: str, checkpoint: Checkpoint | None, kept: int) -> Checkpoint:
        """Return the checkpoint, moved to where the exported changes end by the account that is with them.

        Raises:
            ReplicationError: They are of another log.
        """
        if checkpoint is not None and kept == checkpoint.written:
            # What came since has no changes.
            return checkpoint
        slot = self._config.slot
        with self._destination, self._destination.cursor() as cursor:
            history = Histories(slot).read(cursor)[-1].number
            if checkpoint is None or history_of(kept) != history:
                raise ReplicationError(_FOREIGN.format(name=name, slot=slot))
            Checkpoints(self._destination, slot).take_over(cursor, lsn_of(kept), kept)
        return checkpoint._replace(lsn=lsn_of(kept), written=kept)

    def _count_lanes(self) -> int:
        with self._destination, self._destination.cursor() as cursor:
            return len(lanes.read(cursor, self._config.slot))

    def require_publication(self) -> None:
        """Check that the publication is the one that the stream has begun with.

        Raises:
            Disrupted: The publication was dropped.
        """
        if self._find_origin() != self.origin:
            raise Disrupted(f"the publication {self._config.publication} was dropped")

    def _read_switches(self, known: Origin) -> list[Switch]:
        is_promoted = known[:2] != self.origin[:2] and known.system_identifier == self.system_identifier
        return self._source.timeline_history(self._timeline) if is_promoted else []

    def _find_origin(self) -> Origin:
        with self._server.cursor() as cursor:
            cursor.execute(_ORIGIN, [self._config.publication])
            return Origin(self.system_identifier, self._timeline, *cursor.fetchone())

    def _publish(self) -> bool:
        """Create the publication if it is missing, and return whether it was."""
        if self.origin.publication:
            return False
        if self._config.publish is not None:
            self._config.publish()
            self.origin = self._find_origin()
        if not self.origin.publication:
            name = self._config.publication
            raise NotInstalled(f"the publication {name} is missing: run 'manage.py bemi sync'")
        return True
