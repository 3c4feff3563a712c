"""Locks: transactions that wait for them only briefly, and claims, which no stranger can withhold."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections, transaction

from bemi_django.exceptions import sqlstate_of

_LOCK_NOT_AVAILABLE = "55P03"
_LIMIT = "SELECT pg_catalog.set_config('lock_timeout', %s, true)"

#: Sessions that have a claim of a ``name``, of roles with a ``right`` to a ``table``: SQL, to be formatted.
CLAIMANTS = """
SELECT a.pid, a.usename::text
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid AND a.datid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND a.datname = current_database()
    AND l.classid = (hashtext({name})::bigint & 4294967295)::oid AND l.pid <> pg_backend_pid()
    AND (a.usename = session_user OR has_table_privilege(a.usesysid, {table}, {right}))
ORDER BY a.pid LIMIT 1
"""
_CLAIMANT = CLAIMANTS.format(name="%s", table="%s::regclass", right="%s")
_TAKE = "SELECT pg_try_advisory_lock(hashtext(%s), %s)"
_RELEASE = "SELECT pg_advisory_unlock(hashtext(%s), %s)"
_RANDOM = secrets.SystemRandom()


def briefly(
    using: str, work: Callable[[Any], object], *, lock_timeout: float = 2.0, attempts: int = 5
) -> None:
    """Do something in a transaction, and again if a lock is not available in time.

    Args:
        using: The alias of the database.
        work: Called with a cursor in each attempt.
        lock_timeout: Seconds to wait for a lock.
        attempts: How often to try.

    Raises:
        DatabaseError: Whatever ended the last attempt.
    """
    for attempt in range(1, attempts + 1):
        try:
            with transaction.atomic(using=using), connections[using].cursor() as cursor, unprepared(using):
                cursor.execute(_LIMIT, [f"{int(lock_timeout * 1000)}ms"])
                work(cursor)
            return
        except DatabaseError as error:
            if sqlstate_of(error) != _LOCK_NOT_AVAILABLE or attempt == attempts:
                raise
            # Let the sessions that queued behind our lock request run first.
            time.sleep(lock_timeout / 4 * attempt)


@contextmanager
def unprepared(using: str) -> Iterator[None]:
    """Let psycopg prepare no statement in a block: several of them in one text cannot be prepared."""
    connection = connections[using].connection
    threshold = getattr(connection, "prepare_threshold", None)
    if threshold is None:
        yield
        return
    connection.prepare_threshold = None
    try:
        yield
    finally:
        connection.prepare_threshold = threshold


class Claim:
    """The right of one session to do something that no other may do meanwhile, until it ends.

    Any role that may connect can take, and keep, any advisory lock. So each session takes one with a number
    that nobody can know before, and gives it back if another has one as well. A role without the right does
    not count.

    Args:
        cursor: A cursor of a session in autocommit, with a closed path.
        name: What is claimed.
        table: A table, as ``schema.table``, quoted for SQL.
        right: The right to the table without which nobody can do it.
    """

    def __init__(self, cursor: Any, name: str, table: str, right: str) -> None:
        self._cursor = cursor
        self._name = name
        self._needed = (table, right)
        self._number = 0

    def take(self, patience: float = 1.0) -> str:
        """Take the claim; return which session keeps it from this one, or an empty text.

        Args:
            patience: Seconds to wait for another session.
        """
        deadline = time.monotonic() + patience
        while True:
            self._draw()
            self._cursor.execute(_CLAIMANT, [self._name, *self._needed])
            found = self._cursor.fetchone()
            if found is None:
                return ""
            self.release()
            if time.monotonic() >= deadline:
                return "pid {}, role {!r}".format(*found)
            # Two that have seen each other must not come back together.
            time.sleep(_RANDOM.uniform(0.02, 0.2))

    def release(self) -> None:
        """Give the claim back."""
        self._cursor.execute(_RELEASE, [self._name, self._number])

    def _draw(self) -> None:
        is_taken = False
        while not is_taken:
            self._number = _RANDOM.randrange(-(2**31), 2**31)
            self._cursor.execute(_TAKE, [self._name, self._number])
            (is_taken,) = self._cursor.fetchone()
