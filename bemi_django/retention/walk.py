"""Walk through months and remove single changes, a few at a time, leaving time to others."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from bemi_django.retention.months import patiently
from bemi_django.schema.search_path import closed_cursor

_PRUNE = "SELECT * FROM _bemi.prune_rows_v1(%s, %s, %s, %s, %s, %s)"
_NOWHERE = "00000000-0000-0000-0000-000000000000"
#: Changes that are looked at in one transaction.
BATCH = 2000


class Walked(NamedTuple):
    """Changes that were removed, and the one that must not be removed yet, if there is one."""

    removed: int
    stopped_at: Any = None


def walk(
    alias: str,
    month: datetime,
    since: datetime,
    waiting: str,
    pruning: int,
    is_stopping: Callable[[], bool],
) -> Walked:
    """Remove from a month what the rules do not keep.

    Args:
        alias: Alias of the database that holds the log.
        month: The first moment of the month.
        since: Changes that were committed before are left alone, because an earlier run has seen them.
        waiting: How far handlers are, as JSON.
        pruning: The number of the run.
        is_stopping: Tells whether to end now; what was removed so far is.
    """
    after, removed = _NOWHERE, 0
    while not is_stopping():
        began = time.monotonic()
        batch = partial(_batch, alias, month, since, after, waiting, pruning)
        reached, count, stopped_at = patiently(batch)
        if reached is None:
            break
        removed += count
        if stopped_at is not None:
            return Walked(removed, stopped_at)
        after = str(reached)
        # Half of the time belongs to others.
        time.sleep(min(time.monotonic() - began, 1.0))
    return Walked(removed)


def _batch(
    alias: str, month: datetime, since: datetime, after: str, waiting: str, pruning: int
) -> tuple[Any, int, Any]:
    with closed_cursor(alias) as cursor:
        cursor.execute(_PRUNE, [month, since, after, BATCH, waiting, pruning])
        reached, removed, stopped_at = cursor.fetchone()
        return reached, removed, stopped_at
