"""Throughput and lag of the last hour, by minute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.core.cache import cache
from django.db import connections
from django.utils import timezone

from bemi_django import conf
from bemi_django.admin.display.site_time import local
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only
from bemi_django.models import Change

SHOWN = 60
#: The health page reloads every ten seconds for each of its readers.
_FRESH = 10
_KEY = "bemi.throughput"
#: The last 30 bits of an id name the source.
_GROUPS = """
SELECT pg_catalog.concat('x', pg_catalog."right"(id::pg_catalog.text, 8))::pg_catalog.bit(32)::pg_catalog.int8
           OPERATOR(pg_catalog.&) 1073741823,
       pg_catalog.date_trunc('minute', committed_at), pg_catalog.date_trunc('minute', created_at),
       pg_catalog.count(*),
       pg_catalog.max(pg_catalog.date_part('epoch', created_at OPERATOR(pg_catalog.-) committed_at)),
       pg_catalog.min(position), pg_catalog.max(position)
FROM {log} WHERE committed_at OPERATOR(pg_catalog.>=) %s::pg_catalog.timestamptz GROUP BY 1, 2, 3
"""


class MinuteGroup(NamedTuple):
    """Changes of a source that were committed in one minute and written in another.

    Attributes:
        source: The last 30 bits of their ids, which name the source.
        committed: The minute of the commits.
        written: The minute in which the log got them.
        changes: The number of changes.
        seconds: The longest time from a commit to the log.
        first: The LSN of the first commit.
        last: The LSN of the last commit.
    """

    source: int
    committed: datetime
    written: datetime
    changes: int
    seconds: float
    first: int
    last: int


class LastHour(NamedTuple):
    """The minutes of the last hour and the changes of each."""

    moments: list[datetime]
    groups: list[MinuteGroup]

    @property
    def labels(self) -> list[str]:
        """The minutes as times of day."""
        return [f"{local(moment):%H:%M}" for moment in self.moments]

    @property
    def counts(self) -> list[int]:
        """The number of changes by the minute of their commit."""
        return [
            sum(group.changes for group in self.groups if group.committed == moment)
            for moment in self.moments
        ]

    @property
    def seconds(self) -> list[float]:
        """The longest time (s) from a commit to the log, by the minute of the commit."""
        return [
            max((group.seconds for group in self.groups if group.committed == moment), default=0.0)
            for moment in self.moments
        ]

    def behind(self, source: int, now: int) -> list[int]:
        """Return the bytes of WAL with unwritten changes at the end of each minute.

        The log cannot know what it still lacks, so the line from the last write to now is straight.

        Args:
            source: The source, as in ``MinuteGroup``.
            now: The present value in bytes.
        """
        groups = [group for group in self.groups if group.source == source]
        first = min((group.first for group in groups), default=0)
        found: list[int] = []
        latest = 0
        for number, moment in enumerate(self.moments):
            written = _highest((group.last for group in groups if group.written <= moment), first)
            committed = _highest((group.last for group in groups if group.committed <= moment), first)
            found.append(max(committed - written, 0))
            if any(group.written == moment for group in groups):
                latest = number
        return [*found[: latest + 1], *_between(found[latest], now, len(found) - latest - 1)]


def read_last_hour() -> LastHour | None:
    """Return the last hour, or None if it has too many changes to count in time."""
    now = timezone.now().replace(second=0, microsecond=0)
    moments = [now - timedelta(minutes=back) for back in reversed(range(SHOWN))]
    key = f"{_KEY}.{Change.objects.db}"
    groups: list[MinuteGroup] | None = cache.get(key)
    if groups is None:
        try:
            with bitmap_scan_only(query_timeouts.COUNT), connections[Change.objects.db].cursor() as cursor:
                cursor.execute(_GROUPS.format(log=conf.table().in_query), [moments[0]])
                groups = [MinuteGroup(*row) for row in cursor.fetchall()]
        except TimedOut:
            return None
        cache.set(key, groups, _FRESH)
    return LastHour(moments, groups)


def _highest(positions: Iterable[int], otherwise: int) -> int:
    return max(positions, default=otherwise)


def _between(start: int, end: int, steps: int) -> Sequence[int]:
    return [round(start + (end - start) * step / steps) for step in range(1, steps + 1)]
