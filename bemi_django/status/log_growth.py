"""How the log grows: the size of each month, and a forecast."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.schema.search_path import closed_cursor

# The planner's estimate of the rows is -1 before the first vacuum.
_MONTHS = """
SELECT to_char(m.first AT TIME ZONE 'UTC', 'YYYY-MM'), pg_total_relation_size(c.oid)::bigint,
       greatest(c.reltuples, 0)::bigint, m.first >= recent.since
FROM _bemi.months_v1() m JOIN pg_class c ON c.oid = m.partition
CROSS JOIN LATERAL (
    SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '31 days') AT TIME ZONE 'UTC' AS since
) recent
WHERE m.first IS NOT NULL ORDER BY 1
"""
#: Days since the beginning of last month, or since the log began.
_DAYS = """
SELECT greatest(extract(epoch FROM now() - greatest(
    (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '31 days') AT TIME ZONE 'UTC',
    (SELECT min(started_at) FROM _bemi.checkpoint))) / 86400, 1)::float8
"""


class LogMonth(NamedTuple):
    """A month of the log, such as ``2026-11``: its bytes with indexes, and an estimate of its changes."""

    month: str
    size: int
    changes: int


class LogGrowth(NamedTuple):
    """How the log grows.

    Attributes:
        months: The months of the log, in order.
        bytes_a_day: What it has grown by on an average day since the beginning of last month.
        in_30_days: Its size in 30 days at this rate, if nothing is removed.
        in_a_year: Its size in a year.
    """

    months: list[LogMonth]
    bytes_a_day: int
    in_30_days: int
    in_a_year: int


def read_growth(alias: str) -> LogGrowth:
    """Return how the log in a database grows.

    Args:
        alias: Alias of the database that holds the log.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_MONTHS)
        found = cursor.fetchall()
        cursor.execute(_DAYS)
        (days,) = cursor.fetchone()
    months = [LogMonth(month, size, changes) for month, size, changes, _ in found]
    rate = int(sum(size for _, size, _, is_recent in found if is_recent) / days)
    size = sum(month.size for month in months)
    return LogGrowth(months, rate, size + 30 * rate, size + 365 * rate)
