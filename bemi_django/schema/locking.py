"""Transactions that wait for locks only briefly, so that nobody queues behind them, and are tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connections, transaction

from bemi_django.exceptions import sqlstate_of

_LOCK_NOT_AVAILABLE = "55P03"
_LIMIT = "SELECT pg_catalog.set_config('lock_timeout', %s, true)"


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
            with transaction.atomic(using=using), connections[using].cursor() as cursor:
                cursor.execute(_LIMIT, [f"{int(lock_timeout * 1000)}ms"])
                work(cursor)
            return
        except DatabaseError as error:
            if sqlstate_of(error) != _LOCK_NOT_AVAILABLE or attempt == attempts:
                raise
            # Let the sessions that queued behind our lock request run first.
            time.sleep(lock_timeout / 4 * attempt)
