"""The clocks by which changes become old."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone

from bemi_django.exceptions import BemiError
from bemi_django.schema.search_path import closed_cursor

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
#: Seconds by which two clocks may differ.
_APART = 86_400.0


def require_same_time(alias: str) -> None:
    """Check that the clock of a database is about right: by a wrong one, what has to be kept is too old.

    Args:
        alias: Alias of the database.

    Raises:
        BemiError: It differs from the clock of this machine by more than a day.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_NOW)
        (there,) = cursor.fetchone()
    here = time.time()
    if abs(there - here) > _APART:
        raise BemiError(
            f"by the clock of the database it is {_shown(there)}, by that of this machine {_shown(here)}: "
            "nothing was removed; correct the clock that is wrong, then run this again"
        )


class ClockWatch:
    """Notices that the clock of this machine is set while a process runs.

    The database may be on the same machine, so that both clocks are wrong.
    """

    def __init__(self) -> None:
        self._began = _offset()

    def require_unset(self) -> None:
        """Check that the clock was not set by more than a day since the process began.

        Raises:
            BemiError: It was.
        """
        moved = _offset() - self._began
        if abs(moved) > _APART:
            raise BemiError(
                f"the clock of this machine was set by {moved / 86_400:+.1f} days since the worker began: "
                f"nothing was removed; if {_shown(time.time())} is right, restart the worker"
            )


def _offset() -> float:
    # It also runs while the machine is suspended.
    steady = time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
    return time.time() - steady


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(" ", "minutes")
