"""The log itself: how large it is, and what is missing from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor

#: The size of all partitions, an estimate of the changes, the number of months, and the last month.
_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint,
       coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint, count(*),
       to_char(max(m.first) AT TIME ZONE 'UTC', 'YYYY-MM')
FROM _bemi.months_v1() m JOIN pg_class c ON c.oid = m.partition
"""
_GAPS = """SELECT count(*) FROM {} WHERE "table" = '' AND operation = 'GAP'"""
_LOST = "SELECT DISTINCT to_char(month, 'YYYY-MM') FROM _bemi.lost_months ORDER BY 1"
_DEAD_LETTERS = "SELECT count(*) FROM _bemi.dead_letters"
_MAY_READ = """
SELECT has_table_privilege(_bemi.log_v1(), 'SELECT'), has_table_privilege('_bemi.dead_letters', 'SELECT'),
       coalesce(has_table_privilege(to_regclass('_bemi.lost_months'), 'SELECT'), false)
"""
#: What has to be done about them.
LOST = (
    "months of the log that were detached or dropped by hand: {}; attach their partitions again, or run "
    "'manage.py bemi import MONTH' if the archive has them, or 'manage.py bemi prune' to note that they are "
    "gone"
)


class LogStatus(NamedTuple):
    """The log of a database.

    Attributes:
        table: Its table with its schema, quoted.
        size: Bytes with indexes.
        changes: Number of changes, as the planner estimates it.
        months: Number of monthly partitions.
        last_month: The latest one, as ``2026-12``; None without any.
        gaps: Number of gaps that were recorded; None if the role may not read the log, as the worker's.
        dead_letters: Number of messages that could not be stored completely; None if it may not read them.
        lost_months: Those whose partition was detached or dropped by hand, as ``2026-11``, until that is
            noted; none if it may not read them.
    """

    table: str
    size: int
    changes: int
    months: int
    last_month: str | None
    gaps: int | None
    dead_letters: int | None
    lost_months: Sequence[str] = ()


def read_log(alias: str) -> LogStatus:
    """Return the status of the log in a database.

    Args:
        alias: Alias of the database that holds the log.

    Raises:
        NotInstalled: The database has no log.
    """
    table = installed.log(alias)
    with closed_cursor(alias) as cursor:
        cursor.execute(_SIZE)
        size, changes, months, last_month = cursor.fetchone()
        cursor.execute(_MAY_READ)
        may_read_log, may_read_letters, may_read_lost = cursor.fetchone()
        # A GAP of lost history has no table, so the index of tables and keys finds it.
        cursor.execute("SET LOCAL enable_seqscan = off")
        gaps = _count(cursor, _GAPS.format(table)) if may_read_log else None
        dead_letters = _count(cursor, _DEAD_LETTERS) if may_read_letters else None
        lost = list(_lost(cursor)) if may_read_lost else []
    return LogStatus(table, size, changes, months, last_month, gaps, dead_letters, lost)


def read_lost_months(alias: str) -> list[str]:
    """Return the months of the log whose partition was detached or dropped by hand, until that is noted.

    Args:
        alias: Alias of the database that holds the log.

    Returns:
        None of them to a role that may not read this.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_MAY_READ)
        return list(_lost(cursor)) if cursor.fetchone()[2] else []


def _lost(cursor: Any) -> Iterator[str]:
    cursor.execute(_LOST)
    yield from (month for (month,) in cursor.fetchall())


def _count(cursor: Any, query: str) -> int:
    cursor.execute(query)
    return int(cursor.fetchone()[0])
