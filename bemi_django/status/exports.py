"""What the changes of a database are exported to, beside its log."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django import conf
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor
from bemi_django.status.worker_status import NEVER_RUN, NOT_RUNNING, RUNNING

_HERE = """
SELECT s.system_identifier::text, d.oid::bigint
FROM pg_control_system() s CROSS JOIN pg_database d
WHERE d.datname = current_database() AND NOT pg_is_in_recovery()
"""
_EXPORTS = """
SELECT slot, sink, coalesce(trouble, '') FROM _bemi.checkpoint
WHERE sink <> '' AND system_identifier = %s AND database = %s::bigint ORDER BY sink, slot
"""
_SLOTS = """
SELECT slot_name::text, active, greatest(pg_current_wal_lsn() - confirmed_flush_lsn, 0)::bigint
FROM pg_replication_slots WHERE slot_name::text = ANY (%s)
"""


class ExportStatus(NamedTuple):
    """An export of a database.

    Attributes:
        sink: Where it goes, without secrets.
        slot: The name of its slot.
        state: As that of a worker; without a slot, it has never run.
        lag_bytes: Bytes of WAL that it does not have yet.
        trouble: Why it does not get on, or an empty string.
    """

    sink: str
    slot: str
    state: str
    lag_bytes: int
    trouble: str

    def __str__(self) -> str:
        return f"{self.sink}: {self.state} (slot {self.slot})"


def read_exports(alias: str) -> list[ExportStatus]:
    """Return what a database is exported to; of a standby nothing, because its primary says it.

    Args:
        alias: Alias of the source.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_HERE)
        here = cursor.fetchone()
    if here is None:
        return []
    with closed_cursor(conf.destination()) as cursor:
        if not installed.has(cursor, "partition_v1"):
            return []
        cursor.execute(_EXPORTS, here)
        found = cursor.fetchall()
    if not found:
        return []
    with closed_cursor(alias) as cursor:
        cursor.execute(_SLOTS, [[slot for slot, *_ in found]])
        slots = {
            slot: (RUNNING if is_active else NOT_RUNNING, lag) for slot, is_active, lag in cursor.fetchall()
        }
    return [
        ExportStatus(sink, slot, *slots.get(slot, (NEVER_RUN, 0)), trouble) for slot, sink, trouble in found
    ]


def problem_of(export: ExportStatus) -> str:
    """Return what has to be done about an export, or an empty string."""
    if export.state == NOT_RUNNING:
        return (
            f"the export to {export.sink} is not running, and the server keeps all WAL: start it, or end it "
            f"with SELECT pg_drop_replication_slot('{export.slot}')"
        )
    return f"the export to {export.sink} does not get on: {export.trouble}" if export.trouble else ""
