"""Whether the workers have passed a month, so that they add nothing to it any more."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import NamedTuple

from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor

_BEHIND = """
SELECT slot, to_char(committed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM _bemi.checkpoint
WHERE committed_at < %s AND sink = '' ORDER BY slot
"""
_REACHED = "SELECT count(*) FROM _bemi.checkpoint WHERE slot = %s AND lsn >= %s::pg_lsn"
# The worker writes a checkpoint when it reads the message.
_MARK = """
SELECT pg_current_wal_insert_lsn()::text, pg_logical_emit_message(true, '_bemi_mark', %s)
WHERE clock_timestamp() >= %s AND NOT pg_is_in_recovery()
"""


class _Behind(NamedTuple):
    slot: str
    ends: str


class Passing:
    """Tells of months whether every worker has passed them.

    Args:
        alias: Alias of the database that holds the log.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._aliases: dict[str, str] | None = None

    def reason_to_wait(self, end: datetime) -> str:
        """Return why changes committed before a moment may still be added to the log, or an empty text.

        The last change of an idle database may be old. Its worker is asked to go on to the present, for as
        long as ``as_of()`` waits for it.

        Args:
            end: A moment that is over.
        """
        for behind in self._behind(end):
            if not self._is_idle(behind.slot, end):
                return (
                    f"the log of the slot {behind.slot} ends at {behind.ends} UTC, so changes of this month "
                    "may still come: run the worker until it has caught up ('manage.py bemi status'); if its "
                    "database is gone, delete the slot from _bemi.checkpoint"
                )
        return ""

    def _behind(self, end: datetime) -> list[_Behind]:
        with closed_cursor(self._alias) as cursor:
            cursor.execute(_BEHIND, [end])
            return [_Behind(*row) for row in cursor.fetchall()]

    def _is_idle(self, slot: str, end: datetime) -> bool:
        if self._aliases is None:
            self._aliases = _aliases()
        alias = self._aliases.get(slot)
        if alias is None:
            return False
        with closed_cursor(alias) as cursor:
            cursor.execute(_MARK, [uuid.uuid4().hex, end])
            found = cursor.fetchone()
        return found is not None and self._is_reached(slot, found[0])

    def _is_reached(self, slot: str, lsn: str) -> bool:
        deadline = time.monotonic() + conf.as_of_patience()
        while True:
            with closed_cursor(self._alias) as cursor:
                cursor.execute(_REACHED, [slot, lsn])
                if cursor.fetchone() == (1,):
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)


def _aliases() -> dict[str, str]:
    """Return the sources by their slots, without those that cannot be reached."""
    found: dict[str, str] = {}
    for alias in filter(conf.is_source, connections):
        try:
            found[slot_of(alias)] = alias
        except DatabaseError:
            continue
    return found
