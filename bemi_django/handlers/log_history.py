"""``LogHistory``: the part of the log that one server has written without a gap."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connections

_HISTORY = """
SELECT system_identifier, _bemi.sequence_v1(slot, start_lsn), _bemi.sequence_v1(slot, lsn)
FROM _bemi.checkpoint WHERE slot = %s
"""


class LogHistory(NamedTuple):
    """A continuous part of the log, from one server: the sequence numbers ``start`` to ``end``."""

    system_identifier: str
    start: int
    end: int


def read_history(alias: str, slot: str) -> LogHistory | None:
    """Return the current history of a slot, or None if its worker has never started.

    Args:
        alias: Alias of the database that holds the log.
        slot: Name of the replication slot.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute(_HISTORY, [slot])
        found = cursor.fetchone()
    if found is None:
        return None
    system_identifier, start, end = found
    return LogHistory(system_identifier, int(start), int(end))
