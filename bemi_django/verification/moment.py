"""The moment at which the log and the tables are compared."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from bemi_django.exceptions import BemiError, LogBehind
from bemi_django.ingest.destination.checkpoint import Checkpoint, Checkpoints
from bemi_django.wire.lsn import format_lsn

#: Seconds without a worker, and without any progress of the log, after which none is expected to come back.
ABSENCE_SECONDS = 10.0

_IS_READ = "SELECT active, wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = %s"
_EARLIER = """
SELECT coalesce(_bemi.bound_v1(_bemi.sequence_v1(max(h.number) + 1, '0/0') - 8)::text,
                '00000000-0000-0000-0000-000000000000')
FROM _bemi.histories h JOIN _bemi.checkpoint k USING (slot)
WHERE h.slot = %s AND h.system_identifier <> k.system_identifier
"""


class Moment(NamedTuple):
    """A snapshot of the source: ``snapshot`` as PostgreSQL prints it, ``lsn`` in bytes of WAL."""

    snapshot: str
    lsn: int


def take_moment(source: Any) -> Moment:
    """Return the snapshot of the source's open transaction, which must be REPEATABLE READ.

    Args:
        source: A connection to the source, whatever its search_path is.
    """
    with source.cursor() as cursor:
        cursor.execute(
            "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, "
            "pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')"
        )
        snapshot, lsn = cursor.fetchone()
    return Moment(snapshot, int(lsn))


def wait_for_log(
    server: Any,
    destination: Any,
    slot: str,
    moment: Moment,
    patience: float,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Wait until the log has everything that the moment shows.

    Args:
        server: A connection to the source whose search_path is ``pg_catalog``, in autocommit.
        destination: A connection to the destination.
        slot: The slot of the worker whose log it is.
        moment: The moment that the log must reach.
        patience: Seconds without any progress of the log after which to give up.
        sleep: Called with the seconds between two looks.

    Returns:
        The transaction id with which the log begins.

    Raises:
        BemiError: If there is no log.
        LogBehind: If it makes no progress.
    """
    checkpoints = Checkpoints(destination, slot)
    checkpoint = _checkpoint(checkpoints, slot)
    if checkpoint.lsn >= moment.lsn:
        return checkpoint.start_xid
    with server.cursor() as cursor:
        # It comes after the snapshot, and the worker writes its checkpoint when it reaches it.
        cursor.execute("SELECT pg_logical_emit_message(true, '_bemi_mark', %s)", [uuid.uuid4().hex])
        reached, moved, seen = -1, 0.0, 0.0
        while True:
            checkpoint, now = _checkpoint(checkpoints, slot), time.monotonic()
            if checkpoint.lsn >= moment.lsn:
                return checkpoint.start_xid
            if checkpoint.lsn > reached:
                reached, moved, seen = checkpoint.lsn, now, now
            elif now > moved + patience:
                raise LogBehind(
                    f"the log ends at {format_lsn(reached)} and should reach {format_lsn(moment.lsn)}: "
                    "is 'manage.py bemi run' at work, and with a queue 'manage.py bemi consume'?"
                )
            cursor.execute(_IS_READ, [slot])
            found = cursor.fetchone()
            if found is None and checkpoint.origin.publication:
                raise LogBehind.without_slot(slot)
            # Debezium has a slot of its own.
            is_read, is_lost = found or (True, False)
            if is_lost:
                raise LogBehind.without_slot(slot, is_lost=True)
            if is_read:
                seen = now
            elif now > seen + ABSENCE_SECONDS:
                raise LogBehind(f"no worker reads the slot {slot}: start 'manage.py bemi run'")
            sleep(0.05)


def last_id_of_earlier_servers(destination: Any, slot: str) -> str:
    """Return the greatest id that a change from a server before the log's present one can have."""
    with destination.cursor() as cursor:
        cursor.execute(_EARLIER, [slot])
        (found,) = cursor.fetchone()
    return str(found)


def _checkpoint(checkpoints: Checkpoints, slot: str) -> Checkpoint:
    checkpoint = checkpoints.read()
    if checkpoint is None:
        raise BemiError(f"there is no log of the slot {slot} yet: run 'manage.py bemi run'")
    return checkpoint
