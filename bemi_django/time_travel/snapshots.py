"""Take the snapshot in which tables and log are read, and find the changes missing from its log."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django import conf
from bemi_django.exceptions import LogBehind
from bemi_django.time_travel import omissions
from bemi_django.time_travel.late import Late, in_utc
from bemi_django.time_travel.omissions import PastOmissions
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import lsn_of

#: Maximum number of late changes; with more, the caller takes another snapshot.
MOST_LATE = 5000

# The checkpoint is found by publication, because a standby does not know the name of the slot.
_CHECKPOINT = """
    SELECT _bemi.sequence_v1(k.slot, k.lsn) AS sequence, _bemi.sequence_v1(k.slot, k.start_lsn) AS start,
           k.started_at AT TIME ZONE 'UTC' AS started_at, k.unseen, k.slot
    FROM _bemi.checkpoint k
    WHERE k.system_identifier = (pg_control_system()).system_identifier::text
        AND k.sink = '' AND k.publication = (SELECT oid FROM pg_publication WHERE pubname = %s)
    ORDER BY sequence DESC LIMIT 1
"""
_LOOK = """
SELECT pg_current_snapshot()::text,
       _bemi.sequence_v1(k.slot, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                                      ELSE pg_current_wal_insert_lsn() END),
       pg_is_in_recovery(), k.sequence, k.start, k.started_at,
       EXISTS (SELECT FROM unnest(k.unseen) xid
               WHERE NOT pg_visible_in_snapshot(xid::text::xid8, pg_current_snapshot())), k.slot,
       _bemi.database_v1()
FROM (SELECT) AS one LEFT JOIN LATERAL ({checkpoint}) k ON true
"""
_LATE = """
SELECT id::text, schema, "table", primary_key, previous_primary_key, operation, before::text, after::text,
       _bemi.sequence_v1(id), unavailable::text, transaction_id, committed_at AT TIME ZONE 'UTC',
       pg_visible_in_snapshot(transaction_id::text::xid8, %s::pg_snapshot)
FROM {log}
WHERE id > _bemi.bound_v1(%s) AND id <= _bemi.bound_v1(%s) AND database = %s AND NOT diverged
    AND operation NOT IN ('EVENT', 'ERASED')
ORDER BY id LIMIT %s
"""
_SLOT = "SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = %s"
_MARK = "SELECT pg_logical_emit_message(true, '_bemi_mark', %s)"
_WHERE = "SELECT (pg_control_system()).system_identifier, current_database()"


class Snapshot(NamedTuple):
    """A snapshot (``pg_snapshot`` as text) and the part of the log that it sees.

    Positions are sequence numbers. The log of ``slot`` is complete from ``start`` to ``checkpoint``. ``late``
    are the changes committed by ``position`` that the log does not show in this snapshot. ``log`` is its
    table, for queries with parameters, and ``database`` the name that it has for the database. ``omissions``
    are what was left out of it.
    """

    log: str
    snapshot: str
    position: int
    is_standby: bool
    checkpoint: int
    start: int
    started_at: datetime
    slot: str
    database: str
    late: tuple[Late, ...] = ()
    omissions: PastOmissions = PastOmissions()


def take(connection: BaseDatabaseWrapper, log: str) -> Snapshot | None:
    """Return the open transaction's snapshot, or None if the log is ahead of its tables.

    In that case the caller must take another snapshot, in a new transaction.

    Raises:
        LogBehind: There is no log of this database yet.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOOK.format(checkpoint=_CHECKPOINT), [conf.publication()])
        snapshot, position, is_standby, checkpoint, start, started_at, is_ahead, slot, database = (
            cursor.fetchone()
        )
        omitted = PastOmissions() if slot is None else omissions.read(cursor, slot)
    if checkpoint is None:
        raise LogBehind("this database has no log yet: run 'manage.py bemi run'")
    if is_ahead:
        return None
    begun = in_utc(started_at)
    where = checkpoint, start, begun, slot, database
    return Snapshot(log, snapshot, position, is_standby, *where, omissions=omitted)


def completed(snapshot: Snapshot, using: str) -> Snapshot | None:
    """Return the snapshot with its late changes, or None if there are too many and the caller must retry.

    Waits on a connection of its own until the worker has written everything up to the snapshot.

    Raises:
        LogBehind: The log has not moved for ``BEMI_AS_OF_PATIENCE`` seconds, or its slot is gone.
    """
    if conf.as_of_patience() <= 0:
        return snapshot
    with another(using) as connection, connection.cursor() as cursor:
        _mark(cursor, snapshot, using)
        _wait(cursor, snapshot)
        # The next commit may begin exactly where the checkpoint ends.
        beyond = snapshot.checkpoint - 8
        bounds = beyond, snapshot.position
        parameters: list[Any] = [snapshot.snapshot, *bounds, snapshot.database, MOST_LATE + 1]
        cursor.execute(_LATE.format(log=snapshot.log), parameters)
        rows = [Late(*row) for row in cursor.fetchall()]
        late = tuple(row._replace(committed_at=in_utc(row.committed_at)) for row in rows)
        # The snapshot itself may be older than what the worker has written since.
        omitted = omissions.read(cursor, snapshot.slot)
    return None if len(late) > MOST_LATE else snapshot._replace(late=late, omissions=omitted)


@contextmanager
def another(using: str) -> Iterator[BaseDatabaseWrapper]:
    """Yield a connection beside the one that is in the past."""
    connection = connections.create_connection(using)
    try:
        yield connection
    finally:
        connection.close()


def _mark(cursor: Any, snapshot: Snapshot, using: str) -> None:
    """Write a message after the snapshot; the worker writes a checkpoint when it reads it.

    Raises:
        LogBehind: The slot of a primary is gone.
    """
    mark = uuid.uuid4().hex
    if not snapshot.is_standby:
        cursor.execute(_MARK, [mark])
        return
    # A standby cannot write: ask the primary. Without it, the log moves on with the next change.
    for alias in primaries(cursor, using):
        try:
            with another(alias) as connection, connection.cursor() as there:
                there.execute(_MARK, [mark])
                _require_slot(there, snapshot.slot)
                return
        except DatabaseError:
            continue


def _require_slot(cursor: Any, slot: str) -> None:
    cursor.execute(_SLOT, [slot])
    if (found := cursor.fetchone()) in (None, (True,)):
        raise LogBehind.without_slot(slot, is_lost=found is not None)


def primaries(cursor: Any, using: str) -> Iterator[str]:
    """Yield the aliases of the same database on other servers of its cluster that can write.

    Args:
        cursor: A cursor of the standby ``using``.
        using: Its alias.
    """
    cursor.execute(_WHERE)
    here = cursor.fetchone()
    for alias in connections:
        if alias != using and connections[alias].vendor == "postgresql" and _is_primary(alias, here):
            yield alias


def _is_primary(alias: str, here: tuple[Any, ...]) -> bool:
    try:
        with another(alias) as connection, connection.cursor() as cursor:
            cursor.execute(_WHERE)
            if cursor.fetchone() != here:
                return False
            cursor.execute("SELECT NOT pg_is_in_recovery()")
            return bool(cursor.fetchone()[0])
    except DatabaseError:
        return False


def _wait(cursor: Any, snapshot: Snapshot) -> None:
    """Wait until the log has reached the snapshot's position.

    Raises:
        LogBehind: It stands still, or the slot by which it is written is gone.
    """
    reached, deadline, pause = -1, 0.0, 0.002
    while True:
        cursor.execute(_CHECKPOINT, [conf.publication()])
        found = cursor.fetchone()
        position = int(found[0]) if found else 0
        if position >= snapshot.position:
            return
        if not snapshot.is_standby:
            _require_slot(cursor, snapshot.slot)
        if position > reached:
            reached, deadline = position, time.monotonic() + conf.as_of_patience()
        elif time.monotonic() > deadline:
            raise LogBehind(
                f"the log ends at {format_lsn(lsn_of(position))} and must reach "
                f"{format_lsn(lsn_of(snapshot.position))}: "
                "check that 'manage.py bemi run' is running, and with a queue 'manage.py bemi consume', "
                "or do not wait with BEMI_AS_OF_PATIENCE = 0"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
