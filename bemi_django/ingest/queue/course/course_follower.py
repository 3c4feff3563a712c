"""Let a log follow the course of the first one: its gaps, promotions and restored servers."""

from __future__ import annotations

import logging
from typing import Any

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.destination.partitions import make_partition, moment_of
from bemi_django.ingest.destination.sealing import copier_of_gap
from bemi_django.ingest.queue.backlog import Backlog
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.course.course import Course, Positions, Turn
from bemi_django.ingest.queue.message.chunk import Chunk
from bemi_django.ingest.queue.message.row_values import COMMITTED_AT, canonical_values, pendings_of, values_of
from bemi_django.ingest.stream.reach import reach_of
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import HistoryStart, lsn_of, sequence_at

logger = logging.getLogger(__name__)

_MARK_DIVERGED = "SELECT _bemi.mark_diverged_v1(%s, %s, %s)"
#: Of which transactions all changes are in the log, is not known.
_NO_XID = 2**63 - 1


def read_course(connection: Any, slot: str, source: int) -> Course:
    """Return the course of a log, over a connection to it.

    Args:
        connection: A connection to the destination.
        slot: The name of the slot.
        source: The number of the source in the ids of its changes.
    """
    with connection, connection.cursor() as cursor:
        gaps = [values_of(row) for row in Checkpoints(connection, slot).read_gaps(cursor)]
        return Course(source, Histories(slot).read_whole(cursor), gaps)


class CourseFollower:
    """Follows what a publisher has told, when everything that came before it is in the log.

    Args:
        connection: The connection to the destination.
        broker: The connection to the queue.
        config: What the consumer works on.
    """

    def __init__(self, connection: Any, broker: Broker, config: WorkerConfig) -> None:
        self._connection, self._broker, self._config = connection, broker, config

    def follow(self, told: Chunk) -> bool:
        """Follow, unless there is something to be written first.

        Args:
            told: A chunk with a course that the log has not followed.

        Returns:
            Whether the log lacks changes that come before, and that the queue does not have.
        """
        slot, course = told.source, told.course
        assert course is not None
        connection = self._connection
        with connection, connection.cursor() as cursor:
            states, histories = lanes.read(cursor, slot), Histories(slot).read(cursor)
        positions = {lane: state.position for lane, state in states.items()}
        # Without lanes, the source was given up meanwhile.
        if not positions or Backlog(self._broker, slot).is_writable(states, histories):
            return False
        turns = course.turns(histories, min(positions.values()))
        with connection, connection.cursor() as cursor:
            # Another consumer may have been quicker.
            if lanes.hold(cursor, slot) != positions or Histories(slot).read(cursor) != histories:
                return False
            for turn in turns:
                moved = turn.moved(positions)
                if moved is None:
                    connection.rollback()
                    return True
                self._take(cursor, told, course.source, turn, positions)
                for lane, position in moved.items():
                    if position != positions[lane]:
                        lanes.move(cursor, slot, lane, position)
                positions = moved
        with connection, connection.cursor() as cursor:
            lanes.move_checkpoint(cursor, slot)
        return False

    def _take(self, cursor: Any, told: Chunk, source: int, turn: Turn, positions: Positions) -> None:
        slot, lsn, checkpoints = told.source, lsn_of(turn.place), Checkpoints(self._connection, told.source)
        histories, begun = Histories(slot), turn.history
        if begun is not None:
            if turn.gap is None:
                self._mark_diverged(cursor, source, lsn, positions, histories.read(cursor))
                checkpoints.follow(cursor, lsn, begun.timeline)
            start = HistoryStart(begun.number, begun.lsn)
            histories.add(cursor, start, begun.system_identifier, begun.timeline, begun.reason)
            logger.info("%s: %s at %s: the log follows it", slot, begun.reason, format_lsn(lsn))
        if turn.gap is not None:
            self._record(cursor, slot, turn.gap)
            checkpoints.start(cursor, lsn, _NO_XID, told.origin)
            logger.warning("%s: history was lost; it goes on at %s", slot, format_lsn(lsn))

    def _record(self, cursor: Any, slot: str, gap: list[Any]) -> None:
        """Write the row of a gap, as the first log has it."""
        make_partition(cursor, moment_of(gap[COMMITTED_AT]))
        copier = copier_of_gap(cursor, self._config._replace(slot=slot))
        copier.copy(cursor, pendings_of([canonical_values(gap)]))
        copier.seal(cursor)

    @staticmethod
    def _mark_diverged(
        cursor: Any, source: int, lsn: int, positions: Positions, histories: list[HistoryStart]
    ) -> None:
        """Mark what the server does not have any more."""
        fastest = reach_of(positions.values(), histories).fastest
        if lsn < fastest:
            bounds = [sequence_at(histories, one) for one in (lsn, fastest)]
            cursor.execute(_MARK_DIVERGED, [source, *bounds])
