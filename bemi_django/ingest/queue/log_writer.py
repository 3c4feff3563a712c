"""Write chunks to the log, with the positions of their lanes, in one transaction of the destination."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from bemi_django.ingest.destination import dead_letters, lanes, omissions_table, sealing
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.copying import OF_FOREIGN_ROWS, RowCopier, is_taken
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.destination.partitions import Partitions
from bemi_django.ingest.queue.copied_rows import leave_out_known
from bemi_django.ingest.queue.division.taken_chunk import TakenChunk
from bemi_django.ingest.queue.lane_reader import LaneReader
from bemi_django.ingest.queue.message.chunk import Chunk
from bemi_django.ingest.queue.message.row_values import (
    COMMITTED_AT,
    ID,
    POSITION,
    TRANSACTION_ID,
    Values,
    canonical_values,
    pendings_of,
)
from bemi_django.ingest.queue.sources.refused_sources import about
from bemi_django.ingest.rows.canonical_json import canonical
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.wire.ids import source_in

logger = logging.getLogger(__name__)

_LOST = {COLUMNS.index(name): "{}" for name in ("before", "after", "context")}
_KEYS = (COLUMNS.index("primary_key"), COLUMNS.index("previous_primary_key"))
_UNAVAILABLE, _DATABASE = COLUMNS.index("unavailable"), COLUMNS.index("database")
_REJECTED = "%s: %d messages of lane %d of the queue are no chunks: they are kept in _bemi.dead_letters"
_REASON = "not accepted by the destination"
# Where the log lives in the source, tables and log must not be read together before the commit shows.
_ARE_SHOWN = """
SELECT coalesce(bool_and(pg_visible_in_snapshot(x::text::xid8, pg_current_snapshot())), true)
FROM unnest(%s::bigint[]) x
"""
_IS_LOCAL = "SELECT is_local FROM _bemi.checkpoint WHERE slot = %s"


class LogWriter:
    """Writes to the log of a destination.

    Args:
        connection: A connection to it, as ``connect_destination()`` opens it.
        is_sealed: Whether changes are to be sealed.
        is_for_all: Whether all logs get rows of baselines, and each takes those that it does not know.
    """

    def __init__(self, connection: Any, *, is_sealed: bool = False, is_for_all: bool = False) -> None:
        self._connection, self._is_for_all = connection, is_for_all
        self._is_sealed = is_sealed
        #: The sources that are not sealed, as other consumers have to know.
        self._unsealed: set[int] = set()
        self._named: set[str] = set()
        self._partitions = Partitions(connection)
        self._copier = RowCopier()
        self._local: dict[str, bool] = {}

    def are_shown(self, chunk: Chunk) -> bool:
        """Return whether the tables show the transactions of a chunk, if they are in the same database."""
        if not chunk.changes:
            return True
        with self._connection, self._connection.cursor() as cursor:
            if chunk.source not in self._local:
                cursor.execute(_IS_LOCAL, [chunk.source])
                self._local[chunk.source] = bool((cursor.fetchone() or [False])[0])
            if not self._local[chunk.source]:
                return True
            cursor.execute(_ARE_SHOWN, [list({one[TRANSACTION_ID] for one in chunk.changes})])
            return bool(cursor.fetchone()[0])

    def write(self, taken: Sequence[TakenChunk]) -> int:
        """Write chunks and return the number of their changes.

        Raises:
            SourceRefused: Ids of the changes of a source would not tell them from those of another.
            Superseded: Another consumer has written one of the lanes.
            psycopg2.Error: The destination cannot be written to.
        """
        # Two consumers must not wait for each other.
        in_order, taken = taken, sorted(taken, key=lambda one: (one.chunk.source, one.chunk.lane))
        changes = [change for one in taken for change in one.changes]
        for moment in sorted({change[COMMITTED_AT] for change in changes}):
            if not self._partitions.covers(moment):
                self._partitions.make(moment)
        self._name_sources(taken)
        self._follow_setting(taken)
        with self._connection, self._connection.cursor() as cursor:
            lanes.advance(cursor, (one.move for one in taken))
            for one in taken:
                chunk = one.chunk
                dead_letters.insert(cursor, chunk.source, one.letters)
                for omissions in one.omissions:
                    omissions_table.add(cursor, chunk.source, omissions)
            if self._is_for_all:
                leave_out_known(cursor, in_order)
            self._write_changes(cursor, taken)
        with self._connection, self._connection.cursor() as cursor:
            # It says no more than what was committed before: after a crash, it moves again.
            cursor.execute("SET LOCAL synchronous_commit = off")
            for source in sorted({one.chunk.source for one in taken}):
                lanes.move_checkpoint(cursor, source)
        return sum(len(one.changes) for one in taken)

    def keep_rejected(self, reader: LaneReader) -> None:
        """Keep messages that are no chunks as dead letters of the source.

        Raises:
            Superseded: Another consumer has written the lane.
            psycopg2.Error: The destination cannot be written to.
        """
        if not reader.rejected:
            return
        position, rejected = reader.position, reader.rejected
        with self._connection, self._connection.cursor() as cursor:
            place = reader.source, reader.lane, position, position
            moved = lanes.LaneMove(*place, reader.message, None, reader.division, reader.stream)
            lanes.advance(cursor, [moved])
            dead_letters.insert(cursor, reader.source, [one.letter(position) for one in rejected])
        logger.error(_REJECTED, reader.source, len(rejected), reader.lane)
        reader.discard_rejected()

    def _follow_setting(self, taken: Sequence[TakenChunk]) -> None:
        """Let sealing begin or end in all lanes of a source, if it is to."""
        sources = {
            (one.chunk.source, one.chunk.lanes, one.changes[0][_DATABASE], _source_of(one.changes[0]))
            for one in taken
            if one.changes
        }
        for slot, number, database, source in sorted(sources):
            if self._is_sealed or source not in self._unsealed:
                with self._connection, self._connection.cursor() as cursor:
                    sealing.follow_lanes(cursor, slot, number, database, source, is_sealed=self._is_sealed)
                self._unsealed.add(source)

    def _name_sources(self, taken: Sequence[TakenChunk]) -> None:
        """Keep the names that changes have for their databases, which stay when these are renamed.

        Raises:
            SourceRefused: Ids of the changes of one would not tell them from those of another.
        """
        found = {one.chunk.source: one.changes[0][_DATABASE] for one in taken if one.changes}
        for slot in sorted(found.keys() - self._named):
            with about(slot), self._connection, self._connection.cursor() as cursor:
                Checkpoints(self._connection, slot).name(cursor, found[slot])
            self._named.add(slot)

    def _write_changes(self, cursor: Any, taken: Sequence[TakenChunk]) -> None:
        """Write changes, after the lanes were moved: nobody opens or ends their chains from then on."""
        names = [one.chain for one in taken if one.changes]
        opened = sealing.find_open(cursor, names)
        copiers = {name: sealing.SealingCopier(name) for name in opened}
        groups: dict[tuple[str, str], list[Values]] = {}
        for one in taken:
            is_open = one.chain in opened
            changes = one.changes
            if is_open and not one.chunk.is_canonical:
                changes = [canonical_values(change) for change in changes]
            groups.setdefault((one.chunk.source, one.chain if is_open else ""), []).extend(changes)
        for (source, chain), changes in groups.items():
            if changes:
                refused = list(self._copy(cursor, copiers.get(chain, self._copier), changes))
                dead_letters.insert(cursor, source, refused)
        for copier in (self._copier, *copiers.values()):
            copier.seal(cursor)

    def _copy(self, cursor: Any, copier: RowCopier, changes: list[Values]) -> Iterator[RejectedMessage]:
        """Copy changes; halve them while they are refused, until one is left, which loses its values."""
        if self._takes(cursor, copier, changes):
            return
        if len(changes) > 1:
            middle = len(changes) // 2
            yield from self._copy(cursor, copier, changes[:middle])
            yield from self._copy(cursor, copier, changes[middle:])
            return
        (change,) = changes
        outline = _outline(change)
        if not self._takes(cursor, copier, [outline]):
            # The key itself may be what is refused: an index has a limit.
            for number in _KEYS:
                outline[number] = None
            if not self._takes(cursor, copier, [outline]):
                # Its very place is refused: no database has such a change, or the log has one with its id.
                yield RejectedMessage(change[POSITION], None, orjson.dumps(change), {}, _REASON)
                return
        yield RejectedMessage(change[POSITION], UUID(change[ID]), orjson.dumps(change), {}, _REASON)

    @staticmethod
    def _takes(cursor: Any, copier: RowCopier, changes: list[Values]) -> bool:
        return is_taken(cursor, lambda: copier.copy(cursor, pendings_of(changes)), OF_FOREIGN_ROWS)


def _source_of(change: Values) -> int:
    """Return the number of the source in the id of a change."""
    return source_in(UUID(change[ID]).bytes)


def _outline(change: Values) -> list[Any]:
    """Return a change without its values: the names of its columns are said to be unavailable."""
    outline = [_LOST.get(number, value) for number, value in enumerate(change)]
    named = {side: _columns_of(change[COLUMNS.index(side)]) for side in ("before", "after")}
    unavailable = json.dumps({side: names for side, names in named.items() if names})
    outline[_UNAVAILABLE] = canonical(unavailable.encode()).decode()
    return outline


def _columns_of(values: str) -> list[str]:
    try:
        # Numbers may be larger than those of orjson.
        found = json.loads(values)
    except (ValueError, RecursionError):
        return []
    return list(found) if isinstance(found, dict) else []
