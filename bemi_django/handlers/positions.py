"""How far a handler is: one row for each, committed together with what the handler wrote to this database."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from django.db import connections

from bemi_django.wire.lsn import format_lsn

_HISTORY = """
SELECT system_identifier, start_lsn - '0/0', lsn - '0/0' FROM _bemi_checkpoint WHERE slot = %s
"""
# Of this transaction, so that a pooler does no harm, and nobody has to clean up. It takes no transaction id.
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('_bemi_handlers ' || %s || ' ' || %s, 0))"
_READ = """
SELECT system_identifier, start_lsn - '0/0', last, attempts,
       coalesce(extract(epoch FROM retry_at - clock_timestamp())::float8, 0)
FROM _bemi_handlers WHERE slot = %s AND handler = %s
"""
_SAVE = """
INSERT INTO _bemi_handlers (slot, handler, system_identifier, start_lsn, last, attempts, retry_at)
VALUES (%s, %s, %s, %s::pg_lsn, %s, %s, clock_timestamp() + %s * interval '1 second')
ON CONFLICT (handler, slot) DO UPDATE SET system_identifier = excluded.system_identifier,
    start_lsn = excluded.start_lsn, last = excluded.last, attempts = excluded.attempts,
    retry_at = excluded.retry_at, updated_at = clock_timestamp()
"""
_KEEP = "INSERT INTO _bemi_undelivered (handler, change_id, attempts, reason) VALUES (%s, %s, %s, %s)"


class LogHistory(NamedTuple):
    """What the log has of one server: from the LSN ``start`` to ``end``."""

    system_identifier: str
    start: int
    end: int


class Position(NamedTuple):
    """Up to ``last`` everything is done; the next change was tried ``attempts`` times.

    ``pause`` is in seconds, from now, until it is to be tried again.
    """

    system_identifier: str
    start: int
    last: UUID
    attempts: int = 0
    pause: float = 0.0


class Positions:
    """The place of one handler in the changes of one slot, in the database of an alias."""

    def __init__(self, alias: str, slot: str, handler: str) -> None:
        self._connection = connections[alias]
        self._key = slot, handler

    def lock(self) -> bool:
        """Until the end of the transaction this handler is ours; False where it is somebody else's."""
        with self._connection.cursor() as cursor:
            cursor.execute(_LOCK, self._key)
            return bool(cursor.fetchone()[0])

    def read(self) -> Position | None:
        with self._connection.cursor() as cursor:
            cursor.execute(_READ, self._key)
            found = cursor.fetchone()
        if found is None:
            return None
        system_identifier, start, *rest = found
        return Position(system_identifier, int(start), *rest)

    def save(self, position: Position) -> None:
        system_identifier, start, last, attempts, pause = position
        retry_in = pause if pause > 0 else None
        with self._connection.cursor() as cursor:
            cursor.execute(
                _SAVE, [*self._key, system_identifier, format_lsn(start), last, attempts, retry_in]
            )

    def keep_aside(self, change: UUID, attempts: int, reason: str) -> None:
        """File a change that the handler is not given any more."""
        with self._connection.cursor() as cursor:
            cursor.execute(_KEEP, [self._key[1], change, attempts, reason])


def history(alias: str, slot: str) -> LogHistory | None:
    """What the log has of a slot, None before its worker has started."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_HISTORY, [slot])
        found = cursor.fetchone()
    if found is None:
        return None
    system_identifier, start, end = found
    return LogHistory(system_identifier, int(start), int(end))
