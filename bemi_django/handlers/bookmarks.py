"""Bookmarks: the progress of each handler, committed with what the handler writes to this database."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError, connections

from bemi_django import conf
from bemi_django.schema.replication.slots import slot_of

logger = logging.getLogger(__name__)

# A transaction-level lock works behind a pooler, needs no cleaning up, and assigns no transaction id. But any
# role that may connect can take one. It only saves work: a bookmark is moved from where it was, or not.
_LOCK = "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
# Sessions of other roles than those that move bookmarks, which hold the lock.
_STRANGERS = """
SELECT a.pid, a.usename::pg_catalog.text
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 1
    AND a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    AND l.database OPERATOR(pg_catalog.=) a.datid
    AND ((l.classid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32)
         OPERATOR(pg_catalog.|) l.objid::pg_catalog.int8
    ) OPERATOR(pg_catalog.=) pg_catalog.hashtextextended(%s, 0)
    AND a.usename OPERATOR(pg_catalog.<>) session_user
    AND NOT pg_catalog.has_table_privilege(a.usesysid, '_bemi.handlers', 'UPDATE')
"""
_READ = """
SELECT system_identifier, start_sequence, last, attempts,
       pg_catalog.date_part('epoch', retry_at OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp()),
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) updated_at)
FROM _bemi.handlers
WHERE slot OPERATOR(pg_catalog.=) %s::pg_catalog.text AND handler OPERATOR(pg_catalog.=) %s::pg_catalog.text
"""
_SAVE = """
INSERT INTO _bemi.handlers (slot, handler, system_identifier, start_sequence, last, attempts, retry_at)
VALUES (%s, %s, %s, %s, %s, %s,
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => %s))
ON CONFLICT (handler, slot) DO UPDATE SET system_identifier = excluded.system_identifier,
    start_sequence = excluded.start_sequence, last = excluded.last, attempts = excluded.attempts,
    retry_at = excluded.retry_at, updated_at = pg_catalog.clock_timestamp()
WHERE handlers.last OPERATOR(pg_catalog.=) %s::pg_catalog.uuid
    AND handlers.attempts OPERATOR(pg_catalog.=) %s::pg_catalog.int4
"""
_REMOVE = """
DELETE FROM _bemi.handlers
WHERE pg_catalog.starts_with(handler, %s) AND handler OPERATOR(pg_catalog.<>) ALL (%s::pg_catalog.text[])
"""
_KEEP = "INSERT INTO _bemi.undelivered (handler, change_id, attempts, reason) VALUES (%s, %s, %s, %s)"


class Bookmark(NamedTuple):
    """How far a handler is in the changes of a server.

    Everything up to the id ``last`` is handled. The next change was tried ``attempts`` times and is tried
    again in ``pause`` seconds. ``start`` is the sequence number at which the log began when it
    was set.
    """

    system_identifier: str
    start: int
    last: UUID
    attempts: int = 0
    pause: float = 0.0


class Bookmarks:
    """The stored bookmark of one handler, for the slot of one source.

    Attributes:
        age: Seconds since the bookmark that was read was stored; infinite if there was none.
    """

    age = math.inf

    def __init__(self, source: str, handler: str) -> None:
        self._connection = connections[conf.destination()]
        self._key = slot_of(source), handler
        self._read: Bookmark | None = None
        self._strangers: list[tuple[int, str]] = []

    @staticmethod
    def remove(prefix: str, known: list[str]) -> None:
        """Remove the bookmarks of handlers that are not known any more: the log is kept for them."""
        with connections[conf.destination()].cursor() as cursor:
            cursor.execute(_REMOVE, [prefix, known])

    def lock(self) -> bool:
        """Lock the handler until the end of the transaction; return False if another process has it.

        A lock that a role has taken that may not move bookmarks does not count.
        """
        name = " ".join(("_bemi_handlers", *self._key))
        with self._connection.cursor() as cursor:
            cursor.execute(_LOCK, [name])
            if cursor.fetchone()[0]:
                return True
            cursor.execute(_STRANGERS, [name])
            strangers = cursor.fetchall()
        if strangers and strangers != self._strangers:
            logger.warning(
                "a session of another role holds the lock of %s, which is ignored: pid %d, role %r",
                *(self._key[1], *strangers[0]),
            )
        self._strangers = strangers
        return bool(strangers)

    def read(self) -> Bookmark | None:
        """Return the bookmark, or None if the handler has never run."""
        with self._connection.cursor() as cursor:
            cursor.execute(_READ, self._key)
            found = cursor.fetchone()
        self._read, self.age = None, math.inf
        if found is not None:
            system_identifier, start, last, attempts, pause, self.age = found
            self._read = Bookmark(system_identifier, int(start), last, attempts, pause or 0.0)
        return self._read

    def save(self, bookmark: Bookmark) -> None:
        """Store the bookmark.

        Raises:
            OperationalError: Another process has moved it since it was read.
        """
        system_identifier, start, last, attempts, pause = bookmark
        retry_in = pause if pause > 0 else None
        before = (self._read.last, self._read.attempts) if self._read else (None, None)
        with self._connection.cursor() as cursor:
            cursor.execute(_SAVE, [*self._key, system_identifier, start, last, attempts, retry_in, *before])
            if cursor.rowcount == 0:
                raise OperationalError("another process has moved the bookmark")
        self._read = bookmark

    def keep_aside(self, change: UUID, attempts: int, reason: str) -> None:
        """Store a change as undelivered: the handler is not called with it again."""
        with self._connection.cursor() as cursor:
            cursor.execute(_KEEP, [self._key[1], change, attempts, reason])
