"""Baselines of the log that have begun and not ended."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.schema.locking import CLAIMANTS
from bemi_django.schema.search_path import closed_cursor

_MAY_READ = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname = 'baselines' AND has_table_privilege(c.oid, 'SELECT')
"""
# The command has a claim for each table that it reads.
_CLAIMANTS = CLAIMANTS.format(
    name="concat('_bemi.baseline/', nullif(b.sink, '') || '/', b.relation, '/', b.condition)",
    table="'_bemi.baselines'::regclass",
    right="'INSERT'",
)
# Those of a queue (is_of_queue()) are for the log, too.
_UNFINISHED = f"""
SELECT concat(n.nspname, '.', c.relname), b.condition, b.rows, b.recorded,
       CASE WHEN b.condition = '' THEN greatest(c.reltuples, 0)::bigint ELSE 0 END,
       to_char(b.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), EXISTS ({_CLAIMANTS}), b.sink <> ''
FROM _bemi.baselines b JOIN pg_class c ON c.oid = b.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE b.ended_at IS NULL AND (b.sink = '' OR strpos(b.sink, '@') > 0) ORDER BY 1, 2, b.sink
"""  # noqa: S608 - a constant


class UnfinishedBaseline(NamedTuple):
    """A baseline of a table or partition that has not been read to its end.

    Attributes:
        table: ``schema.table``.
        condition: The condition on its rows; empty for all of them.
        rows: The number of rows that were read.
        recorded: The number of those that were recorded.
        estimate: The number of rows of the table, as the planner estimates it; 0 if that says nothing.
        started_at: When it began, in UTC.
        is_running: Whether a command is at work on it.
        is_for_queue: Whether all rows are sent to all logs of a queue, which leave out what they know.
    """

    table: str
    condition: str
    rows: int
    recorded: int
    estimate: int
    started_at: str
    is_running: bool
    is_for_queue: bool = False

    @property
    def percent(self) -> int | None:
        """How much was read, at most 99; None if that cannot be estimated."""
        return min(99, self.rows * 100 // self.estimate) if self.estimate else None

    @property
    def progress(self) -> str:
        """How much was read, for people."""
        done = "" if self.percent is None else f"{self.percent} %, "
        what = "sent to the logs of a queue" if self.is_for_queue else "recorded"
        return f"{done}{self.rows:,} rows read, {self.recorded:,} {what}"

    def __str__(self) -> str:
        where = f" where {self.condition}" if self.condition else ""
        what = "running" if self.is_running else "interrupted, the same command continues"
        return f"{self.table}{where}: {self.progress}, since {self.started_at} UTC, {what}"


def read_baselines(alias: str) -> list[UnfinishedBaseline]:
    """Return the baselines that have begun and not ended; none to a role that may not read them.

    Args:
        alias: Alias of the source.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_MAY_READ)
        if cursor.fetchone() == (0,):
            return []
        cursor.execute(_UNFINISHED)
        return [UnfinishedBaseline(*row) for row in cursor.fetchall()]
