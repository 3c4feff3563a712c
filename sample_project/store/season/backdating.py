"""Move the log of the season to the moments at which it was played.

The worker has written the changes, a few minutes ago. Only their times are another's.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from typing import Any

from sample_project.store.season.clock import Clock

_FILL = """
INSERT INTO pg_temp.moved
SELECT * FROM unnest(%s::timestamptz[], %s::timestamptz[], %s::interval[])
"""
_MOVE = """
UPDATE changes c
SET committed_at = m.played, queued_at = c.queued_at - m.back, created_at = c.created_at - m.back
FROM pg_temp.moved m WHERE c.committed_at = m.committed_at
"""


def backdate(cursor: Any, clock: Clock) -> int:
    """Give each change the moment at which its action was played; return how many there are."""
    cursor.execute("SELECT DISTINCT committed_at FROM changes ORDER BY 1")
    moments = [moment for (moment,) in cursor.fetchall()]
    for month in sorted({played.strftime("%Y-%m-01T00:00:00Z") for played in clock.played}):
        cursor.execute("SELECT _bemi.partition_v1(%s)", [month])
    cursor.execute(
        "CREATE TEMPORARY TABLE moved (committed_at timestamptz, played timestamptz, back interval)"
    )
    rows = [(moment, moment - back, back) for moment in moments if (back := _back(clock, moment))]
    cursor.execute(_FILL, [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []])
    cursor.execute("ANALYZE pg_temp.moved")
    cursor.execute(_MOVE)
    moved: int = cursor.rowcount
    cursor.execute("DROP TABLE pg_temp.moved")
    cursor.execute("ANALYZE changes")
    cursor.execute("TRUNCATE _bemi.activity")
    cursor.execute("SELECT _bemi.recount_v1(min(committed_at), max(committed_at)) FROM changes")
    cursor.execute("UPDATE _bemi.checkpoint SET started_at = %s", [clock.played[0]])
    # As of any moment of the season, all of the site can be shown.
    cursor.execute("UPDATE _bemi.past SET since_time = %s", [clock.played[0]])
    return moved


def _back(clock: Clock, committed_at: datetime) -> timedelta | None:
    """Return how far in the past the action of a commit was played; None before the first one."""
    place = bisect_right(clock.real, committed_at) - 1
    return clock.real[place] - clock.played[place] if place >= 0 else None
