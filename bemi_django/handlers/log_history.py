"""``LogHistory``: the part of the log that one server has written without a gap."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connections

from bemi_django import conf
from bemi_django.schema.replication.slots import slot_of

_HISTORY = """
SELECT system_identifier, _bemi.sequence_v1(slot, start_lsn), _bemi.sequence_v1(slot, lsn)
FROM _bemi.checkpoint WHERE slot OPERATOR(pg_catalog.=) %s::pg_catalog.text
"""


class LogHistory(NamedTuple):
    """A continuous part of the log, from one server: the sequence numbers ``start`` to ``end``."""

    system_identifier: str
    start: int
    end: int


class SourceLog:
    """The log of a source.

    Args:
        source: Alias of the source.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._slot: str | None = None

    def history(self) -> LogHistory | None:
        """Return the current history, or None if the worker has never started."""
        slot = self._slot or slot_of(self._source)
        with connections[conf.destination()].cursor() as cursor:
            cursor.execute(_HISTORY, [slot])
            found = cursor.fetchone()
        if found is None:
            return None
        # From now on the log keeps the name.
        self._slot = slot
        system_identifier, start, end = found
        return LogHistory(system_identifier, int(start), int(end))
