"""The checkpoint: where the log ends, one row per slot, committed together with the changes before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from bemi_django.exceptions import Superseded
from bemi_django.ingest.destination.histories import Histories
from bemi_django.wire.lsn import format_lsn

_READ = """
SELECT lsn - '0/0', committed_at, start_xid, system_identifier, timeline, publication, database::bigint,
       coalesce(written, 0)
FROM _bemi.checkpoint WHERE slot = %s
"""
_START = """
INSERT INTO _bemi.checkpoint AS k
    (slot, lsn, committed_at, start_lsn, start_xid, system_identifier, timeline, publication, database,
     sink, recorded_as, is_local)
SELECT %s, %s::pg_lsn, clock_timestamp(), %s::pg_lsn, %s, o.*, %s, %s, (o.system_identifier, o.database) = (
    SELECT s.system_identifier::text, d.oid
    FROM pg_control_system() s CROSS JOIN pg_database d WHERE d.datname = current_database())
FROM (VALUES (%s::text, %s::integer, %s::oid, %s::oid))
    o (system_identifier, timeline, publication, database)
ON CONFLICT (slot) DO UPDATE SET lsn = excluded.lsn, committed_at = excluded.committed_at,
    start_lsn = excluded.start_lsn, started_at = excluded.started_at, start_xid = excluded.start_xid,
    system_identifier = excluded.system_identifier,
    timeline = excluded.timeline, publication = excluded.publication, database = excluded.database,
    sink = excluded.sink, is_local = excluded.is_local,
    recorded_as = coalesce(nullif(excluded.recorded_as, ''), k.recorded_as), unseen = '{}',
    updated_at = clock_timestamp()
"""
# A promotion that lost the end of the WAL takes the log back to where the new timeline begins.
_FOLLOW = """
UPDATE _bemi.checkpoint SET lsn = least(lsn, %s::pg_lsn), start_lsn = least(start_lsn, %s::pg_lsn),
    timeline = %s, unseen = '{}', updated_at = clock_timestamp()
WHERE slot = %s
"""
# What the sink has was written before the checkpoint of it; or it lacks what it once had.
_TAKE_OVER = "UPDATE _bemi.checkpoint SET lsn = %s::pg_lsn, written = %s WHERE slot = %s"
# Only so many, for a message of a queue holds them.
_KEEP_GAP = """
UPDATE _bemi.checkpoint SET gaps = (gaps || %s::bytea)[greatest(cardinality(gaps) - 98, 1):] WHERE slot = %s
"""
_OTHERS = """
SELECT slot, timeline FROM _bemi.checkpoint
WHERE slot <> %s AND sink = '' AND system_identifier = %s AND database = %s::bigint ORDER BY slot
"""
_NAME = "UPDATE _bemi.checkpoint SET recorded_as = %s WHERE slot = %s AND recorded_as = ''"
_READ_GAPS = "SELECT gaps FROM _bemi.checkpoint WHERE slot = %s"
_NOTE_TROUBLE = "UPDATE _bemi.checkpoint SET trouble = %s, updated_at = clock_timestamp() WHERE slot = %s"
_CLAIM = "LOCK TABLE _bemi.checkpoint IN ROW EXCLUSIVE MODE"
_ADVANCE = """
UPDATE _bemi.checkpoint SET lsn = %s::pg_lsn, updated_at = clock_timestamp(), trouble = NULL, counters = %s,
    written = coalesce(%s, written),
    committed_at = coalesce(timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 us', committed_at),
    unseen = ARRAY(
        SELECT xid FROM unnest(unseen || %s::bigint[]) xid
        WHERE NOT pg_visible_in_snapshot(xid::text::xid8, pg_current_snapshot())
            AND system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() s))
WHERE slot = %s AND lsn = %s::pg_lsn
RETURNING CASE WHEN system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() s)
    THEN pg_snapshot_xmin(pg_current_snapshot())::text::bigint ELSE 9223372036854775807 END
"""


class Origin(NamedTuple):
    """What a position in the WAL belongs to: its server, timeline, publication and database (their oids)."""

    system_identifier: str
    timeline: int
    publication: int
    database: int = 0


class Checkpoint(NamedTuple):
    """Every change committed at or below ``lsn`` is in the log, the last one committed at ``committed_at``.

    Transactions from ``start_xid`` on are in the log completely: they began after the slot was made. Where
    changes go elsewhere than to the log, ``written`` is the sequence number that is kept there with them; 0
    if there is none.
    """

    lsn: int
    committed_at: Any
    start_xid: int
    origin: Origin
    written: int = 0


class Checkpoints:
    """Reads and moves the checkpoint of one slot.

    Args:
        connection: A connection to the destination.
        slot: The name of the slot.
        counts: Counters to be kept with the checkpoint.
        sink: Where the changes go if not to the log, without secrets.
    """

    def __init__(
        self, connection: Any, slot: str, counts: Mapping[str, int] | None = None, sink: str = ""
    ) -> None:
        self._connection = connection
        self._slot, self._sink = slot, sink
        self._counts: Mapping[str, int] = {} if counts is None else counts
        # Transactions before it are visible. Where the log lives elsewhere, all of them count as visible.
        self._horizon = 0

    def read(self) -> Checkpoint | None:
        """Return the checkpoint, or None before the first start."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(_READ, [self._slot])
            found = cursor.fetchone()
        if found is None:
            return None
        lsn, committed_at, start_xid, *origin, written = found
        return Checkpoint(int(lsn), committed_at, start_xid, Origin(*origin), written)

    def others(self, origin: Origin) -> dict[str, int]:
        """Return other slots that have written changes of the same database to the log, with their timelines.

        The database of another server has the same oid and identifier if the server is a copy.
        """
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(_OTHERS, [self._slot, origin.system_identifier, origin.database])
            return dict(cursor.fetchall())

    def start(self, cursor: Any, lsn: int, start_xid: int, origin: Origin, database: str = "") -> None:
        """Begin a history.

        Args:
            cursor: A cursor of the destination.
            lsn: Where the stream begins.
            start_xid: Transactions from this 64-bit id on will be in the log completely.
            origin: What the position belongs to.
            database: The name that the log has for the database; the one that it had if it is empty.

        Raises:
            ReplicationError: Ids of its changes would not tell it from another one.
        """
        place = format_lsn(lsn), format_lsn(lsn)
        cursor.execute(_START, [self._slot, *place, start_xid, self._sink, database, *origin])
        Histories(self._slot).require_own_numbers(cursor)

    def name(self, cursor: Any, database: str) -> None:
        """Keep the name that changes have for the database, unless one is kept.

        Raises:
            ReplicationError: As :meth:`start`.
        """
        cursor.execute(_NAME, [database, self._slot])
        if cursor.rowcount:
            Histories(self._slot).require_own_numbers(cursor)

    def take_over(self, cursor: Any, lsn: int, written: int) -> None:
        """Move the checkpoint to where the sink has been found to end."""
        cursor.execute(_TAKE_OVER, [format_lsn(lsn), written, self._slot])

    def follow(self, cursor: Any, lsn: int, timeline: int) -> None:
        """Note that the server is on another timeline, whose WAL is the log's up to ``lsn``."""
        cursor.execute(_FOLLOW, [format_lsn(lsn), format_lsn(lsn), timeline, self._slot])

    def keep_gap(self, cursor: Any, row: bytes) -> None:
        """Keep the row of a gap, which other destinations of a queue have to get, too."""
        cursor.execute(_KEEP_GAP, [row, self._slot])

    def read_gaps(self, cursor: Any) -> list[bytes]:
        """Return the rows of the last gaps that were kept, the oldest first."""
        cursor.execute(_READ_GAPS, [self._slot])
        found = cursor.fetchone()
        return [bytes(row) for row in found[0]] if found else []

    def note_trouble(self, trouble: str) -> None:
        """Keep, until the checkpoint moves, the line that says why it does not."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(_NOTE_TROUBLE, [trouble.replace("\0", ""), self._slot])

    def claim(self, cursor: Any) -> None:
        """Show that the open transaction, of which a part is written, is to move the checkpoint."""
        cursor.execute(_CLAIM)

    def advance(
        self,
        cursor: Any,
        old: int,
        new: int,
        committed_at: int | None,
        transactions: Iterable[int] = (),
        written: int | None = None,
    ) -> None:
        """Move the checkpoint.

        Where the log lives in the source, the checkpoint lists those of the transactions that are not
        visible there yet: until they are, tables and log must not be read together.

        Args:
            cursor: A cursor of the destination, in the transaction of the changes.
            old: Where the checkpoint has to be.
            new: Where it goes.
            committed_at: The commit time of the last change, in microseconds since 2000-01-01 UTC; None to
                keep the one before.
            transactions: The 64-bit ids of the transactions in between.
            written: The sequence number that the sink keeps with the changes; None for none.

        Raises:
            Superseded: Another worker has moved it; two workers must never write the same changes.
        """
        recent = [xid for xid in transactions if xid >= self._horizon]
        counters = orjson.dumps(dict(self._counts)).decode()
        moved = [format_lsn(new), counters, written, committed_at, recent, self._slot, format_lsn(old)]
        cursor.execute(_ADVANCE, moved)
        found = cursor.fetchone()
        if found is None:
            raise Superseded
        (self._horizon,) = found
