"""The months of the log: which there are, and how one is dropped without making anybody wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, TypeVar

import orjson
from django.db import DatabaseError, connections, transaction

from bemi_django.exceptions import BemiError, sqlstate_of
from bemi_django.schema.search_path import closed_cursor

Result = TypeVar("Result")

_MONTHS = """
SELECT to_char(m.first AT TIME ZONE 'UTC', 'YYYY-MM') FROM _bemi.months_v1() m
WHERE m.first IS NOT NULL ORDER BY 1
"""
_LOST = """
SELECT DISTINCT to_char(m.month, 'YYYY-MM') FROM _bemi.lost_months m
WHERE has_function_privilege('_bemi.note_lost_v1(timestamptz, boolean)', 'EXECUTE') ORDER BY 1
"""
_NOTE_LOST = "SELECT _bemi.note_lost_v1(%s, true)"
_BEGIN = "SELECT _bemi.begin_pruning_v1(%s)"
_END = "SELECT _bemi.end_pruning_v1(%s, %s)"
_WATCH = "SELECT _bemi.watch_month_v1(%s, %s)"
_DROP = "SELECT _bemi.drop_month_v1(%s, %s)"
# The functions compare what others commit meanwhile.
_ISOLATION = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
_LOCK_NOT_AVAILABLE, _WRITTEN = "55P03", "40001"
#: Seconds after which a lock that was not available is asked for again.
_PAUSES = (0.5, 1.0, 2.0)


class Held(BemiError):
    """Another session has read or written the log in a transaction that it has not ended."""


class Written(BemiError):
    """Another session has written to a month since it is watched."""


def months(alias: str) -> list[datetime]:
    """Return the first moments of the log's months, in order.

    Args:
        alias: Alias of the database that holds the log.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_MONTHS)
        return [month_of(month) for (month,) in cursor.fetchall()]


def month_of(text: str) -> datetime:
    """Return the first moment of a month such as ``2026-11``. Raises ValueError if it is not one."""
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=timezone.utc)


def note_lost(alias: str) -> list[str]:
    """Note that months are gone whose partition was detached or dropped by hand, and return them.

    Args:
        alias: Alias of the database that holds the log.

    Returns:
        The months, such as ``2026-11``; none to a role that is not the owner of the log.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_LOST)
        lost = [month for (month,) in cursor.fetchall()]
        for month in lost:
            cursor.execute(_NOTE_LOST, [month_of(month)])
    return lost


def begin(alias: str, who: Mapping[str, Any]) -> int:
    """Begin a run that removes changes, and return its number.

    Args:
        alias: Alias of the database that holds the log.
        who: Who removes them, and why, as :func:`operator_context` returns it.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_BEGIN, [orjson.dumps(dict(who)).decode()])
        return int(cursor.fetchone()[0])


def end(alias: str, pruning: int, stopped: list[str]) -> None:
    """End a run; ``stopped`` says why something was not removed."""
    with closed_cursor(alias) as cursor:
        cursor.execute(_END, [pruning, stopped])


def watch(alias: str, month: datetime, pruning: int) -> None:
    """Note from now on who writes to a month; it is dropped only if nobody has.

    Args:
        alias: Alias of the database that holds the log.
        month: Any moment of the month.
        pruning: The run, of :func:`begin`.

    Raises:
        Held: Another session writes to it; try again later.
    """

    def begin_to_watch() -> None:
        with closed_cursor(alias) as cursor:
            cursor.execute(_WATCH, [month, pruning])

    patiently(begin_to_watch)


def drop(cursor: Any, month: datetime, pruning: int) -> int:
    """Drop a month of the log with all its changes, and return their number; as the owner of the log.

    It is noted which changes were removed, so that ``as_of()`` and others know from when on the log is
    complete.

    Args:
        cursor: A cursor of :func:`removing`.
        month: Any moment of a month that is watched.
        pruning: The run, of :func:`begin`.

    Raises:
        Written: Somebody has written to it since.
    """
    try:
        cursor.execute(_DROP, [month, pruning])
    except DatabaseError as error:
        if sqlstate_of(error) == _WRITTEN:
            raise Written from error
        raise
    return int(cursor.fetchone()[0])


@contextmanager
def removing(alias: str) -> Iterator[Any]:
    """Yield a cursor in a transaction that may drop a month.

    Args:
        alias: Alias of the database that holds the log.
    """
    with transaction.atomic(using=alias):
        with connections[alias].cursor() as cursor:
            cursor.execute(_ISOLATION)
        with closed_cursor(alias) as cursor:
            yield cursor


def watched(alias: str, month: datetime, pruning: int, work: Callable[[], Result]) -> Result:
    """Do something that may drop a month, and begin to watch the month when it comes to that.

    Args:
        alias: Alias of the database that holds the log.
        month: Any moment of the month.
        pruning: The run, of :func:`begin`.
        work: What is done, in a transaction of its own.

    Raises:
        Held: Another session holds the log, or writes to the month again and again; try again later.
    """

    def attempt() -> Result:
        try:
            return work()
        except DatabaseError as error:
            if sqlstate_of(error) != _WRITTEN:
                raise
        watch(alias, month, pruning)
        return work()

    return patiently(attempt)


def patiently(work: Callable[[], Result]) -> Result:
    """Do something that waits for locks only briefly, and again after a pause if it did not get them.

    Raises:
        Held: It did not get them in several attempts.
    """
    for pause in (*_PAUSES, None):
        try:
            return work()
        except DatabaseError as error:
            if sqlstate_of(error) not in (_LOCK_NOT_AVAILABLE, _WRITTEN):
                raise
            if pause is None:
                raise Held from error
        time.sleep(pause)
    raise AssertionError
