"""Find where the log continues: on the server it has followed, on one that was promoted, or after a gap."""

from __future__ import annotations

import logging
from typing import Any

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.checkpoint import Checkpoint, Checkpoints, Origin
from bemi_django.ingest.destination.copying import KeptRows
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.destination.sealing import copier_of, copier_of_gap, follow_setting
from bemi_django.ingest.stream import gaps
from bemi_django.ingest.stream import slot as slots
from bemi_django.ingest.stream.gaps import Gap
from bemi_django.ingest.stream.slot import Slot
from bemi_django.ingest.stream.timelines import Branch, Switch, find_branch
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import HistoryStart, sequence_at

logger = logging.getLogger(__name__)

_MARK_DIVERGED = "SELECT _bemi.mark_diverged_v1(%s, %s, %s)"
# Ids of changes are made of the server's identifier, the name of the database and positions in the WAL.
_TWICE = (
    "the log has the changes of {database} by the slot {slot} already, and they would have the same ids: "
    "set BEMI_SLOT to {slot}, drop that slot, or give this one a log of its own with BEMI_DESTINATION"
)
_COPY = (
    "the log has changes of {database} of another timeline of this server, by the slot {slot}. If this "
    "server is the one that was promoted, set BEMI_SLOT to {slot}; if it is a copy, whose changes may have "
    "the same ids, give it a log of its own with BEMI_DESTINATION"
)


class Continuation:
    """Decides how a log goes on, and writes that to the destination.

    Args:
        server: A plain connection to the source, in autocommit.
        destination: A connection to the destination.
        config: What the worker works on.
        database: The name of the source's database.
        source: The number of the source in the ids of its changes.
    """

    def __init__(
        self, server: Any, destination: Any, config: WorkerConfig, database: str, source: int
    ) -> None:
        self._server = server
        self._destination = destination
        self._config = config
        self._database = database
        self._source = source
        #: Up to where parts of the log go further than all of it, in bytes: the fastest lane of a queue.
        self.reached = 0
        sink = "" if config.export is None else config.export.name
        self._checkpoints = Checkpoints(destination, config.slot, sink=sink)
        self._histories = Histories(config.slot)
        #: Writes rows to the log.
        self.copier = copier_of(config)
        #: Rows of gaps that are to be exported.
        self.gaps: list[Pending] = []

    def read_checkpoint(self) -> Checkpoint | None:
        """Return where the log ends, or None if the slot has no log yet."""
        return self._checkpoints.read()

    def begin(self, origin: Origin, slot: Slot | None, is_useless: bool) -> int:
        """Begin the log of a slot that has none; return where.

        Args:
            origin: What the server's positions belong to.
            slot: The slot, if there is one.
            is_useless: Whether the slot begins before its publication, and cannot be read.

        Raises:
            ReplicationError: Another slot writes changes of this database to the log, or of a copy of it.
        """
        self._require_alone(origin)
        slot = self._usable(slot, is_to_move=is_useless)
        with self._destination, self._destination.cursor() as cursor:
            self._begin_history(cursor, origin, slot.confirmed, "the log begins")
            self._checkpoints.start(cursor, slot.confirmed, self._next_xid(), origin, self._database)
        return slot.confirmed

    def _require_alone(self, origin: Origin) -> None:
        if self._config.queue is None:
            # A worker without one has its own transaction fail, and stops nobody else.
            return
        for slot, timeline in self._checkpoints.others(origin).items():
            if timeline != origin.timeline:
                raise ReplicationError(_COPY.format(database=self._database, slot=slot))
            if slots.is_there(self._server, slot):
                raise ReplicationError(_TWICE.format(database=self._database, slot=slot))

    def judge(
        self, checkpoint: Checkpoint, origin: Origin, slot: Slot | None, switches: list[Switch]
    ) -> tuple[Branch, Gap | None]:
        """Return how the server's WAL continues the log's, and the gap in between, if there is one.

        Args:
            checkpoint: How far the log goes.
            origin: What the server's positions belong to.
            slot: The slot, if there is one.
            switches: The timeline history of the server; empty if it is on the log's timeline.
        """
        branch = find_branch(checkpoint, origin, switches, self._end(), self.reached)
        if branch.is_older and slot is not None and not slot.is_lost:
            # What came since the slot's position is sent again, as it has become.
            common = min(slot.confirmed, checkpoint.lsn)
            branch = Branch(common, (Switch(origin.timeline, common),))
        return branch, gaps.find_gap(checkpoint, branch, slot, origin)

    def follow(self, checkpoint: Checkpoint, branch: Branch, origin: Origin) -> int:
        """Go on with a log without a gap; return where."""
        if branch.left:
            with self._destination, self._destination.cursor() as cursor:
                self._follow(cursor, checkpoint, branch, origin)
                self._checkpoints.follow(cursor, branch.common, origin.timeline)
        return branch.common

    def accept(self, gap: Gap, branch: Branch, origin: Origin, slot: Slot | None) -> int:
        """Record a gap and continue after it; return where.

        A slot that can be read is kept: it may have changes that nothing else has.
        """
        is_republished = gap.checkpoint.origin.publication != origin.publication
        slot = self._usable(slot, is_to_move=is_republished and branch.reason is None)
        with self._destination, self._destination.cursor() as cursor:
            if branch.reason:
                self._begin_history(cursor, origin, slot.confirmed, branch.reason)
            else:
                self._follow(cursor, gap.checkpoint, branch, origin)
            histories = self._histories.read(cursor)
            is_exported = self._config.export is not None
            copier = KeptRows(self.gaps) if is_exported else copier_of_gap(cursor, self._config)
            place = self._database, self._source, slot.confirmed, histories
            row = gaps.record_gap(cursor, copier, gap, *place, self._config.operator())
            logger.warning("history was lost: %s; it goes on at %s", gap, format_lsn(slot.confirmed))
            self._checkpoints.start(cursor, slot.confirmed, self._next_xid(), origin, self._database)
            if self._config.queue is not None:
                self._checkpoints.keep_gap(cursor, row)
        return slot.confirmed

    def histories(self, start: int) -> list[HistoryStart]:
        """Return the histories of the log, the oldest first, when it goes on at a position."""
        with self._destination, self._destination.cursor() as cursor:
            histories = self._histories.read(cursor)
            follow_setting(cursor, self._config, self._database, self._source, histories, start)
            return histories

    def _follow(self, cursor: Any, checkpoint: Checkpoint, branch: Branch, origin: Origin) -> None:
        """Begin the histories of the timelines that came since, and mark what the server does not have."""
        if not branch.left:
            return
        first, last = branch.left[0].lsn, max(checkpoint.lsn, self.reached)
        if first < last:
            self._mark_diverged(cursor, first, last)
        timelines = [*(switch.timeline for switch in branch.left[1:]), origin.timeline]
        for switch, timeline in zip(branch.left, timelines, strict=True):
            if switch.timeline == timeline:
                reason = "restored to an older state"
            else:
                reason = f"promoted from timeline {switch.timeline} to {timeline}"
            self._histories.begin(cursor, origin.system_identifier, timeline, switch.lsn, reason)
            logger.info("the server was %s at %s: the log follows it", reason, format_lsn(switch.lsn))

    def _mark_diverged(self, cursor: Any, first: int, last: int) -> None:
        histories = self._histories.read(cursor)
        bounds = [sequence_at(histories, lsn) for lsn in (first, last)]
        cursor.execute(_MARK_DIVERGED, [self._source, *bounds])
        (marked,) = cursor.fetchone()
        if not marked:
            # An idle log goes on with positions that no change has.
            place = format_lsn(last), format_lsn(first)
            logger.info("the log was at %s, but has no changes after %s: nothing in it is lost", *place)
            return
        logger.warning(
            "the server does not have the transactions from %s to %s any more: %d changes of them are in the "
            "log, marked as diverged",
            format_lsn(first),
            format_lsn(last),
            marked,
        )

    def _begin_history(self, cursor: Any, origin: Origin, lsn: int, reason: str) -> None:
        self._histories.begin(cursor, origin.system_identifier, origin.timeline, lsn, reason)

    def _usable(self, slot: Slot | None, *, is_to_move: bool) -> Slot:
        """Return a slot that can be read: a new one, or the present one, which goes on from now if needed."""
        name = self._config.slot
        if slot is not None and slot.is_lost:
            slots.drop(self._server, name)
            slot = None
        if slot is None:
            return slots.create(self._server, name, failover=self._config.failover)
        return slots.advance(self._server, name) if is_to_move else slot

    def _next_xid(self) -> int:
        return int(self._ask("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))

    def _end(self) -> int:
        return int(self._ask("SELECT pg_current_wal_flush_lsn() - '0/0'"))

    def _ask(self, query: str) -> Any:
        with self._server.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
