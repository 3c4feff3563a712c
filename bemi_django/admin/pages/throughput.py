"""The last hour, minute by minute: what was written, how late, and how many bytes later than the WAL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.core.cache import cache
from django.db import OperationalError, connections
from django.utils import timezone

from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import bitmap_scan_only
from bemi_django.models import Change

SHOWN = 60
#: The page asks every ten seconds, for each who looks at it.
_FRESH = 10
_KEY = "bemi.minutes"
#: The source is in the last bits of the id.
_GROUPS = """
SELECT (('x' || right(id::text, 8))::bit(32)::bigint & 1073741823),
       date_trunc('minute', committed_at), date_trunc('minute', created_at),
       count(*), max(extract(epoch FROM created_at - committed_at))::float, min(position), max(position)
FROM changes WHERE committed_at >= %s GROUP BY 1, 2, 3
"""


class MinuteGroup(NamedTuple):
    """Changes of a source by the minutes of their commit and of their way into the log.

    ``seconds`` is the longest that one of them took; ``first`` and ``last`` are LSNs of commits.
    """

    source: int
    committed: datetime
    written: datetime
    changes: int
    seconds: float
    first: int
    last: int


class LastHour(NamedTuple):
    moments: list[datetime]
    groups: list[MinuteGroup]

    @property
    def labels(self) -> list[str]:
        return [f"{timezone.localtime(moment):%H:%M}" for moment in self.moments]

    @property
    def counts(self) -> list[int]:
        """Changes by the minute of their commit."""
        return [
            sum(group.changes for group in self.groups if group.committed == moment)
            for moment in self.moments
        ]

    @property
    def seconds(self) -> list[float]:
        """The longest that a change took from its commit into the log, by the minute of the commit."""
        return [
            max((group.seconds for group in self.groups if group.committed == moment), default=0.0)
            for moment in self.moments
        ]

    def behind(self, source: int, now: int) -> list[int]:
        """Bytes of WAL with changes that the log had not got at the end of each minute; ``now`` is the last.

        The log does not know yet what it lacks: from what was written last to now the line is straight.
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
    """None when there are too many to count in time."""
    now = timezone.now().replace(second=0, microsecond=0)
    moments = [now - timedelta(minutes=back) for back in reversed(range(SHOWN))]
    groups: list[MinuteGroup] | None = cache.get(_KEY)
    if groups is None:
        try:
            with bitmap_scan_only(query_timeouts.COUNT), connections[Change.objects.db].cursor() as cursor:
                cursor.execute(_GROUPS, [moments[0]])
                groups = [MinuteGroup(*row) for row in cursor.fetchall()]
        except OperationalError:
            return None
        cache.set(_KEY, groups, _FRESH)
    return LastHour(moments, groups)


def _highest(positions: Iterable[int], otherwise: int) -> int:
    return max(positions, default=otherwise)


def _between(start: int, end: int, steps: int) -> Sequence[int]:
    return [round(start + (end - start) * step / steps) for step in range(1, steps + 1)]
