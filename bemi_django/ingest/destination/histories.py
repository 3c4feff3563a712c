"""The histories of a log: each branch of the WAL that it has followed has a number of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

from bemi_django.exceptions import ReplicationError
from bemi_django.wire.ids import source_of
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import FIRST_HISTORY, HistoryStart

_ARE_THERE = "SELECT EXISTS (SELECT FROM _bemi.histories WHERE slot = %s)"
_READ = "SELECT number, start_lsn - '0/0' FROM _bemi.histories WHERE slot = %s ORDER BY number"
_READ_WHOLE = """
SELECT number, (start_lsn - '0/0')::bigint, system_identifier, timeline, reason
FROM _bemi.histories WHERE slot = %s ORDER BY number
"""
# Until the end of the transaction: two workers must not take one number for two branches. Checkpoints can be
# moved meanwhile. Any role that may connect could take an advisory lock, and keep it.
_LOCK = "LOCK TABLE _bemi.checkpoint IN SHARE UPDATE EXCLUSIVE MODE"
# The databases of one server share its histories, so that their ids have a common order.
_SHARED = """
SELECT max(number) FROM _bemi.histories
WHERE system_identifier = %s AND timeline = %s AND number > (
    SELECT coalesce(max(number), -1) FROM _bemi.histories WHERE slot = %s)
"""
_NEXT = "SELECT coalesce(max(number) + 1, 0) FROM _bemi.histories"
_BEGIN = """
INSERT INTO _bemi.histories (slot, number, system_identifier, timeline, start_lsn, reason)
VALUES (%s, %s, %s, %s, %s::pg_lsn, %s)
"""
# A slot may have followed its database to other servers, whose changes have numbers of their own.
_SOURCES = """
SELECT k.slot, s.system_identifier, k.recorded_as
FROM _bemi.checkpoint k, LATERAL (
    SELECT k.system_identifier UNION SELECT h.system_identifier FROM _bemi.histories h WHERE h.slot = k.slot
) s
WHERE k.recorded_as <> ''
"""
_SAME_NUMBER = (
    "the log has changes of {other} by the slot {slot}, and those of {database} would have the same number "
    "of the source in their ids, by chance: give it a log of its own with BEMI_DESTINATION"
)


class LoggedHistory(NamedTuple):
    """A history as a log has written it down: where it begins, on which server and timeline, and why."""

    number: int
    lsn: int
    system_identifier: str
    timeline: int
    reason: str


class Histories:
    """The histories of the log of one slot, over cursors of the destination."""

    def __init__(self, slot: str) -> None:
        self._slot = slot

    def read(self, cursor: Any) -> list[HistoryStart]:
        """Return the histories, the oldest first; there is always one."""
        cursor.execute(_READ, [self._slot])
        return [HistoryStart(number, int(lsn)) for number, lsn in cursor.fetchall()] or [FIRST_HISTORY]

    def read_whole(self, cursor: Any) -> list[LoggedHistory]:
        """Return the histories that were written down, the oldest first."""
        cursor.execute(_READ_WHOLE, [self._slot])
        return [LoggedHistory(*found) for found in cursor.fetchall()]

    def servers(self, cursor: Any) -> dict[int, str]:
        """Return the server of each history that was written down, by its number."""
        return {found.number: found.system_identifier for found in self.read_whole(cursor)}

    def are_there(self, cursor: Any) -> bool:
        """Return whether a history was written down."""
        cursor.execute(_ARE_THERE, [self._slot])
        return bool(cursor.fetchone()[0])

    def begin(self, cursor: Any, system_identifier: str, timeline: int, lsn: int, reason: str) -> None:
        """Begin a history with a number above all that the slot has had.

        Args:
            cursor: A cursor of the destination, in the transaction that moves the checkpoint.
            system_identifier: The server's, from ``IDENTIFY_SYSTEM``.
            timeline: The server's timeline.
            lsn: Where the history begins, in bytes.
            reason: Why it begins, in words.
        """
        cursor.execute(_LOCK)
        cursor.execute(_SHARED, [system_identifier, timeline, self._slot])
        (number,) = cursor.fetchone()
        if number is None:
            cursor.execute(_NEXT)
            (number,) = cursor.fetchone()
        self.add(cursor, HistoryStart(number, lsn), system_identifier, timeline, reason)

    def add(
        self, cursor: Any, start: HistoryStart, system_identifier: str, timeline: int, reason: str
    ) -> None:
        """Add a history with the number that it has elsewhere; the rest is as for :meth:`begin`.

        Raises:
            ReplicationError: As :meth:`require_own_numbers`.
        """
        number, lsn = start
        cursor.execute(_BEGIN, [self._slot, number, system_identifier, timeline, format_lsn(lsn), reason])
        self.require_own_numbers(cursor)

    def require_own_numbers(self, cursor: Any) -> None:
        """Check that ids tell the changes of the slot, on all servers that it has had, from those of others.

        Raises:
            ReplicationError: They do not.
        """
        cursor.execute(_SOURCES)
        found = [(slot, (system, database)) for slot, system, database in cursor.fetchall()]
        own = {source for slot, source in found if slot == self._slot}
        others = {source: slot for slot, source in found if slot != self._slot}
        for source in own:
            for other, slot in others.items():
                if other != source and source_of(*other) == source_of(*source):
                    message = _SAME_NUMBER.format(other=other[1], slot=slot, database=source[1])
                    raise ReplicationError(message)
