"""How many changes there are in a period: as they were counted when they were written, or counted now."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from django.core.cache import cache
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.utils import timezone as site_timezone

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.activity.activity_range import ActivityRange
from bemi_django.admin.pages.activity.hour_sums import HourSums, in_utc, sums_of, sums_query
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only, no_seqscan
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.schema import tenancy
from bemi_django.schema.database_names import assumed_name

_FRESH = 60
#: Names of a kind that are listed or put into groups.
MOST = 500
#: Kinds of names, in the order of the page.
KINDS = ("user", "endpoint", "table", "task", "command", "outside")
_KEPT_HOURS = """
SELECT a.moment, a.name, a.changes FROM _bemi.activity a
WHERE a.kind = 'operation' AND a.unit = 'hour' AND a.moment >= %(begin)s AND a.moment < %(end)s AND {places}
"""
# Whole months and days (UTC) are counted as such, hours around them one by one. Each part reads one range of
# an index.
_KEPT_NAMES = """
SELECT a.kind, a.name, a.detail, pg_catalog.sum(a.changes) AS changes FROM (
    SELECT * FROM _bemi.activity b WHERE b.kind = ANY (%(kinds)s)
        AND b.unit = 'month' AND b.moment >= %(first_month)s AND b.moment < %(last_month)s
    UNION ALL
    SELECT * FROM _bemi.activity b WHERE b.kind = ANY (%(kinds)s)
        AND b.unit = 'day' AND b.moment >= %(first_day)s AND b.moment < least(%(first_month)s, %(last_day)s)
    UNION ALL
    SELECT * FROM _bemi.activity b WHERE b.kind = ANY (%(kinds)s)
        AND b.unit = 'day' AND b.moment >= greatest(%(last_month)s, %(first_day)s) AND b.moment < %(last_day)s
    UNION ALL
    SELECT * FROM _bemi.activity b WHERE b.kind = ANY (%(kinds)s)
        AND b.unit = 'hour' AND b.moment >= %(begin)s AND b.moment < least(%(first_day)s, %(end)s)
    UNION ALL
    SELECT * FROM _bemi.activity b WHERE b.kind = ANY (%(kinds)s)
        AND b.unit = 'hour' AND b.moment >= greatest(%(last_day)s, %(begin)s) AND b.moment < %(end)s
) a WHERE {places} GROUP BY 1, 2, 3
"""
_COUNTED_HOURS = """
SELECT pg_catalog.date_trunc('hour', c.committed_at, 'UTC'), c.operation, pg_catalog.count(*)
FROM ({changes}) c GROUP BY 1, 2
"""
_COUNTED_NAMES = """
SELECT n.kind, n.name, n.detail, pg_catalog.count(*) AS changes FROM ({changes}) c
CROSS JOIN LATERAL _bemi.activity_of_v1(c.operation, c."table", c.context) n
WHERE n.kind = ANY (%s) GROUP BY 1, 2, 3
"""
_MOST = """
SELECT f.kind, f.name, f.detail, f.changes::pg_catalog.int8, f.all_changes::pg_catalog.int8, f.names FROM (
    SELECT g.*, pg_catalog.sum(g.changes) OVER w AS all_changes,
           pg_catalog.count(*) FILTER (WHERE g.name <> '') OVER w AS names, pg_catalog.row_number()
               OVER (PARTITION BY g.kind ORDER BY g.changes DESC, g.name, g.detail) AS place
    FROM ({counts}) g WINDOW w AS (PARTITION BY g.kind)
) f WHERE f.place <= {most} ORDER BY f.kind, f.place
"""


class Names(NamedTuple):
    """The names of a kind that most changes have: (name, detail, changes).

    ``changes`` is how many have any, and ``names`` how many there are.
    """

    most: list[tuple[str, str, int]]
    changes: int = 0
    names: int = 0


class HourCounts(NamedTuple):
    """The numbers of changes of a period: by hour and operation, added up, and by the names of each kind."""

    sums: HourSums
    kinds: dict[str, Names]


def counts_of(viewer: Viewer, changes: ChangeQuerySet, asked: ActivityRange) -> HourCounts | None:
    """Return the numbers of changes of a period, or None if counting them takes too long.

    Args:
        viewer: Who asks; names under masked keys of the context are left out.
        changes: The changes to count.
        asked: The period.
    """
    key = viewer.cache_key(
        "activity", changes, asked.begin, asked.end, site_timezone.get_current_timezone_name()
    )
    found: HourCounts | None = cache.get(key)
    if found is None:
        found = _read(viewer, changes, asked)
        if found is not None:
            cache.set(key, found, _FRESH)
    return found


def _read(viewer: Viewer, changes: ChangeQuerySet, asked: ActivityRange) -> HourCounts | None:
    kinds = visible_kinds(viewer)
    places = _counted_places(viewer, changes)
    if places is not None:
        return _kept(changes.db, places, kinds, asked)
    limited = changes.filter(committed_at__gte=asked.begin, committed_at__lt=asked.end).order_by()
    try:
        query, given = limited.values("committed_at", "operation", "table", "context").query.sql_with_params()
    except EmptyResultSet:
        return HourCounts(sums_of(()), {})
    hours, names = (text.replace("{changes}", query) for text in (_COUNTED_HOURS, _COUNTED_NAMES))
    try:
        with bitmap_scan_only(query_timeouts.COUNT):
            return _run(changes.db, asked, (hours, given), (names, [*given, kinds]))
    except TimedOut:
        return None


def _kept(
    alias: str, places: list[tuple[str, str]], kinds: list[str], asked: ActivityRange
) -> HourCounts | None:
    conditions, parameters = ["true"], {**_bounds(asked), "kinds": kinds}
    for number, (database, schema) in enumerate(places):
        conditions.append(f"a.database = %(database{number})s AND a.schema = %(schema{number})s")
        parameters |= {f"database{number}": database, f"schema{number}": schema}
    limit = " AND ".join(conditions)
    hours, names = (text.replace("{places}", limit) for text in (_KEPT_HOURS, _KEPT_NAMES))
    # Of a long period, most rows are read.
    try:
        with no_seqscan(statement_timeout=str(query_timeouts.COUNT), enable_seqscan="on"):
            return _run(alias, asked, (hours, parameters), (names, parameters))
    except TimedOut:
        return None


def _run(alias: str, asked: ActivityRange, hours: tuple[str, Any], names: tuple[str, Any]) -> HourCounts:
    kinds: dict[str, Names] = {}
    with connections[alias].cursor() as cursor:
        query, parameters = hours
        cursor.execute(sums_query(query, [step.begin for step in asked.steps()], asked.end), parameters)
        sums = sums_of(cursor.fetchall())
        query, parameters = names
        cursor.execute(_MOST.replace("{most}", str(MOST)).replace("{counts}", query), parameters)
        for kind, name, detail, changes, all_changes, count in cursor.fetchall():
            kinds.setdefault(kind, Names([], all_changes, count)).most.append((name, detail, changes))
    return HourCounts(sums, kinds)


def visible_kinds(viewer: Viewer) -> list[str]:
    """Return the kinds of names that the viewer may see."""
    keys = {
        "user": ("user_id", "tenant"),
        "endpoint": ("endpoint", "route", "method"),
        "task": ("task",),
        "command": ("command",),
        "outside": ("db_user",),
    }
    found = [
        kind for kind in KINDS if not any(viewer.masks.hide_context_key(key) for key in keys.get(kind, ()))
    ]
    viewer.lifted.context_keys(*(key for kind in found for key in keys.get(kind, ())))
    return found


def _counted_places(viewer: Viewer, changes: ChangeQuerySet) -> list[tuple[str, str]] | None:
    """Return the databases and schemas to which the query is limited; None if by anything else."""
    whole: ChangeQuerySet = Change.objects.all()
    places = []
    for alias in connections:
        if (schema := tenancy.tenant_schema(alias)) is not None:
            places.append((assumed_name(alias), schema))
            whole = whole.filter(database=places[-1][0], schema=schema)
    return places if viewer.cache_key("", changes) == viewer.cache_key("", whole) else None


def _bounds(asked: ActivityRange) -> dict[str, Any]:
    begin, end = in_utc(asked.begin), in_utc(asked.end)
    # In zones that are not whole hours away from UTC, the hour belongs to the day in which it begins.
    begin, end = (
        moment if moment == moment.replace(minute=0) else moment.replace(minute=0) + timedelta(hours=1)
        for moment in (begin, end)
    )
    first_day = begin.replace(hour=0)
    if first_day < begin:
        first_day += timedelta(days=1)
    last_day = max(end.replace(hour=0), first_day)
    first_month = first_day.replace(day=1)
    if first_month < first_day:
        first_month = (first_month + timedelta(days=31)).replace(day=1)
    last_month = max(last_day.replace(day=1), first_month)
    return {
        **{"begin": begin, "end": end, "first_day": first_day, "last_day": last_day},
        **{"first_month": first_month, "last_month": last_month},
    }
