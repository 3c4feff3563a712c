"""Remove from the log what ``BEMI_RETENTION`` does not keep."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from bemi_django.retention import rules as table_rules
from bemi_django.retention import waiting
from bemi_django.retention.clocks import require_same_time
from bemi_django.retention.months import Held, begin, end, months, removing, watched
from bemi_django.retention.table_rule import TableRule
from bemi_django.retention.waiting import WaitingHandler
from bemi_django.retention.walk import walk
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor

_PRUNE_MONTH = "SELECT * FROM _bemi.prune_month_v1(%s, %s, %s)"
_CUTOFFS = """
SELECT p.period, extract(epoch FROM date_trunc('minute', now()) - p.period::interval)::float8,
       -- Up to a moment to come, if the clock was wrong.
       CASE WHEN w.rules = %s AND w.until < now() THEN extract(epoch FROM w.until)::float8 END, w.until::text
FROM unnest(%s::text[]) p (period) LEFT JOIN _bemi.walked w ON w.period = p.period
"""
# Unless changes were brought back in the meantime.
_NOTE_WALKED = """
INSERT INTO _bemi.walked (period, rules, until) VALUES (%s, %s, %s)
ON CONFLICT (period) DO UPDATE SET rules = excluded.rules, until = excluded.until
WHERE walked.until::text = %s
"""
_DUE = """
WITH named AS MATERIALIZED (
    SELECT n.*, _bemi.kept_since_v1(n.schema, n."table", %s) AS since
    FROM (SELECT DISTINCT database, schema, "table" FROM {log}) n
)
SELECT to_char(c.committed_at AT TIME ZONE 'UTC', 'YYYY-MM'), n.schema, n."table", count(*)
FROM named n JOIN {log} c ON c.database = n.database AND c.schema = n.schema AND c."table" = n."table"
    AND c.committed_at < n.since
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_EMPTY = """
SELECT to_char(m.first AT TIME ZONE 'UTC', 'YYYY-MM') FROM _bemi.months_v1() m
CROSS JOIN LATERAL (SELECT (m.first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' AS first) n
WHERE n.first <= (SELECT max(now() - p::interval) FROM unnest(%s::text[]) p)
    AND NOT EXISTS (SELECT FROM {log} c WHERE c.committed_at >= m.first AND c.committed_at < n.first)
ORDER BY 1
"""
#: The worker may write a change so long after it was committed.
_LATENESS = timedelta(days=7)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Due(NamedTuple):
    """The number of changes of a table, in a month such as ``2026-11``, that are to be removed.

    Without a table they are gaps; or there are none, and the month is dropped because it is empty.
    """

    month: str
    schema: str
    table: str
    changes: int


class Pruned(NamedTuple):
    """What a run has removed.

    Attributes:
        run: Its number in ``_bemi.prunings``.
        changes: Number of changes that were removed.
        months: Those that were dropped as a whole, as ``2026-11``.
        stopped: Why something was not removed that could be.
        is_held: Whether it is to be run again soon, because another session has held the log.
    """

    run: int
    changes: int
    months: Sequence[str]
    stopped: Sequence[str]
    is_held: bool


class _Period(NamedTuple):
    """A period: changes before ``cutoff`` may be removed, and were up to ``until``.

    ``noted`` is what the database has of that, whatever the rules were.
    """

    name: str
    cutoff: datetime
    until: datetime
    noted: str | None


def due(alias: str) -> Iterator[Due]:
    """Yield what a run would remove, if nothing stops it.

    Args:
        alias: Alias of the database that holds the log.

    Raises:
        BemiError: A setting is wrong, or the database has no log.
    """
    wanted = table_rules.of_settings()
    log = installed.log(alias)
    with closed_cursor(alias) as cursor:
        installed.require(cursor, "prune_rows_v1")
        cursor.execute(_DUE.format(log=log), [table_rules.as_json(wanted)])
        for month, schema, table, changes in cursor.fetchall():
            yield Due(month, schema, table, changes)
        cursor.execute(_EMPTY.format(log=log), [sorted({rule.period for rule in wanted if rule.period})])
        for (month,) in cursor.fetchall():
            yield Due(month, "", "", 0)


def prune(
    alias: str,
    who: Mapping[str, Any],
    is_stopping: Callable[[], bool] = lambda: False,
    may_change_rules: bool = True,
) -> Pruned:
    """Remove what the settings do not keep: whole months at once, the rest in small batches.

    It can be interrupted at any point. Each step notes what it removes in the same transaction.

    Args:
        alias: Alias of the database that holds the log.
        who: Who removes it.
        is_stopping: Tells whether to end soon.
        may_change_rules: Whether the rules of the settings replace those that the owner has allowed.

    Raises:
        BemiError: A setting or a clock is wrong, the owner of the log has not allowed this, or there is no
            log.
    """
    wanted = table_rules.of_settings(is_to_remove=True)
    require_same_time(alias)
    table_rules.allow(alias, wanted, may_change_rules)
    run = _Run(alias, wanted, begin(alias, who), is_stopping)
    run.drop_months()
    run.walk_months()
    end(alias, run.number, run.stopped)
    return Pruned(run.number, run.changes, run.dropped, run.stopped, run.is_held)


class _Run:
    """A run, with what it has done so far."""

    def __init__(
        self, alias: str, rules: Sequence[TableRule], number: int, is_stopping: Callable[[], bool]
    ) -> None:
        self.number = number
        self.changes = 0
        self.dropped: list[str] = []
        self.stopped: list[str] = []
        self.is_held = False
        self._alias = alias
        self._is_stopping = is_stopping
        self._digest = hashlib.sha256(table_rules.as_json(rules).encode()).hexdigest()
        self._handlers: list[WaitingHandler] = waiting.waiting_handlers(alias)
        self._waiting = waiting.as_json(self._handlers)
        self._periods = self._read_periods({rule.period for rule in rules if rule.period})
        self._left: set[datetime] = set()

    def drop_months(self) -> None:
        """Drop the months of which nothing is kept."""
        for month in months(self._alias):
            if self._is_stopping() or all(_next(month) > period.cutoff for period in self._periods):
                return
            try:
                removed, stopped_at = watched(
                    self._alias,
                    month,
                    self.number,
                    lambda: self._drop(month),  # noqa: B023 - used at once
                )
            except Held:
                self.is_held = True
                self._left.add(month)
                self._stop(f"{month:%Y-%m} is in use by another session: it will be dropped by a later run")
                continue
            if stopped_at is not None:
                self._stop(waiting.explain(self._alias, self._handlers, stopped_at))
            elif removed is not None:
                self.changes += removed
                self.dropped.append(f"{month:%Y-%m}")

    def walk_months(self) -> None:
        """Remove the rest, and remember how far that was done."""
        for month in months(self._alias):
            news = [period for period in self._periods if _is_due(period, month)]
            if self._is_stopping():
                return
            if not news or month in self._left:
                continue
            since = min(period.until for period in news)
            try:
                found = walk(self._alias, month, since, self._waiting, self.number, self._is_stopping)
            except Held:
                self.is_held = True
                self._stop(f"changes of {month:%Y-%m} are locked by another session")
                return
            self.changes += found.removed
            if found.stopped_at is not None:
                self._stop(waiting.explain(self._alias, self._handlers, found.stopped_at))
                return
        if not self._left and not self._is_stopping():
            self._note_walked()

    def _drop(self, month: datetime) -> tuple[int | None, Any]:
        with removing(self._alias) as cursor:
            cursor.execute(_PRUNE_MONTH, [month, self._waiting, self.number])
            removed, stopped_at = cursor.fetchone()
            return removed, stopped_at

    def _read_periods(self, names: set[str]) -> list[_Period]:
        with closed_cursor(self._alias) as cursor:
            cursor.execute(_CUTOFFS, [self._digest, sorted(names)])
            return [
                _Period(name, _moment(cutoff), _EPOCH if until is None else _moment(until) - _LATENESS, noted)
                for name, cutoff, until, noted in cursor.fetchall()
            ]

    def _note_walked(self) -> None:
        with closed_cursor(self._alias) as cursor:
            for period in self._periods:
                cursor.execute(_NOTE_WALKED, [period.name, self._digest, period.cutoff, period.noted])

    def _stop(self, reason: str) -> None:
        if reason not in self.stopped:
            self.stopped.append(reason)


def _is_due(period: _Period, month: datetime) -> bool:
    return month < period.cutoff and period.until < _next(month)


def _next(month: datetime) -> datetime:
    return (month + timedelta(days=31)).replace(day=1)


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
