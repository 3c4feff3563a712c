"""Numbers of changes by hour, added up in the database by columns of the chart and by hours of the week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

from django.utils import timezone as site_timezone

# A year has some 26,000 hours and operations, which take Python a quarter of a second.
_SUMS = """
SELECT s.place, s.operation, s.weekday, s.hour, pg_catalog.sum(s.changes)::pg_catalog.int8 FROM (
    SELECT l.place, l.operation, pg_catalog.date_part('isodow', l.moment)::pg_catalog.int4 - 1 AS weekday,
           pg_catalog.date_part('hour', l.moment)::pg_catalog.int4 AS hour, l.changes
    FROM (
        SELECT GREATEST(pg_catalog.width_bucket(h.moment, {begins}) - 1, 0) AS place, h.operation, h.changes,
               pg_catalog.timezone('UTC', h.moment) + pg_catalog.make_interval(secs =>
                   ({seconds})[pg_catalog.width_bucket(h.moment, {moments})]) AS moment
        FROM ({hours}) h (moment, operation, changes)
    ) l
) s GROUP BY GROUPING SETS ((s.place, s.operation), (s.weekday, s.hour))
"""


class HourSums(NamedTuple):
    """Numbers of changes: by column and operation, and by day of the week (Monday is 0) and hour."""

    columns: dict[int, Counter[str]]
    week: Counter[tuple[int, int]]

    @property
    def total(self) -> int:
        """The number of changes."""
        return self.week.total()


class ZoneOffsets(NamedTuple):
    """From which moments on the reader's time is how many seconds ahead of UTC."""

    moments: list[datetime]
    seconds: list[int]


def sums_query(hours: str, begins: Sequence[datetime], end: datetime) -> str:
    """Return the query that adds up the numbers of hours.

    Args:
        hours: A query of hours, operations and numbers.
        begins: When the columns begin, in order.
        end: When the last one ends.
    """
    offsets = zone_offsets(begins[0], end)
    query = _SUMS.replace("{begins}", _array("timestamptz", map(in_utc, begins)))
    query = query.replace("{moments}", _array("timestamptz", offsets.moments))
    return query.replace("{seconds}", _array("int4", offsets.seconds)).replace("{hours}", hours)


def sums_of(rows: Iterable[tuple[Any, ...]]) -> HourSums:
    """Return what the rows of the query say."""
    columns: dict[int, Counter[str]] = {}
    week: Counter[tuple[int, int]] = Counter()
    for place, operation, weekday, hour, changes in rows:
        if place is None:
            week[(weekday, hour)] = changes
        else:
            columns.setdefault(place, Counter())[operation] = changes
    return HourSums(columns, week)


def zone_offsets(begin: datetime, end: datetime) -> ZoneOffsets:
    """Return the offsets of the current time zone at the full hours (UTC) of a period.

    Args:
        begin: Its first moment.
        end: The moment after it.
    """
    begin, end = in_utc(begin).replace(minute=0, second=0), in_utc(end)
    zone = site_timezone.get_current_timezone()
    found = ZoneOffsets([begin], [_offset(begin, zone)])
    for number in range((end - begin).days + 1):
        day = begin + timedelta(days=number)
        length = min(timedelta(days=1), end - day)
        if _offset(day + length, zone) != found.seconds[-1]:
            _add_changes(found, day, zone)
    return found


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; one without a zone is in the current one."""
    aware = moment if site_timezone.is_aware(moment) else site_timezone.make_aware(moment)
    return aware.astimezone(timezone.utc)


def _add_changes(found: ZoneOffsets, day: datetime, zone: tzinfo) -> None:
    """Add the hours of a day at which clocks were changed."""
    for moment in (day + timedelta(hours=hour) for hour in range(1, 25)):
        if (seconds := _offset(moment, zone)) != found.seconds[-1]:
            found.moments.append(moment)
            found.seconds.append(seconds)


def _offset(moment: datetime, zone: tzinfo) -> int:
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return int(offset.total_seconds())


def _array(type_name: str, values: Iterable[object]) -> str:
    """Return an array of moments or numbers, which need no quotation marks, as a literal."""
    return f"'{{{','.join(map(str, values))}}}'::pg_catalog.{type_name}[]"
