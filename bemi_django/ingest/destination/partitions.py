"""Create the monthly partitions of the log before a row needs them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

from psycopg2.errors import LockNotAvailable, ObjectNotInPrerequisiteState

from bemi_django.exceptions import first_line

logger = logging.getLogger(__name__)

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
#: The next month is not needed yet, so recording does not wait for its locks and tries again later.
_PATIENCE = "SET LOCAL lock_timeout = '100ms'"
_LATER = timedelta(hours=1)


class Partitions:
    """Creates partitions over ``connection``, which must not be in a transaction at that time.

    If they are not used, because others write the rows, none has to be created.
    """

    def __init__(self, connection: Any, *, is_used: bool = True) -> None:
        self._connection = connection
        self._is_used = is_used
        self._start = self._end = 0

    def covers(self, moment: int) -> bool:
        """Return whether no partition has to be created at a moment (microseconds since 2000-01-01 UTC)."""
        return self._start <= moment < self._end or not self._is_used

    def make(self, moment: int) -> None:
        """Create the partition of a moment's month, and that of the next month unless the log is locked.

        Args:
            moment: The time of a commit, in microseconds since 2000-01-01 UTC.

        Raises:
            psycopg2.Error: The partition of the moment's month cannot be created.
        """
        now = moment_of(moment)
        first = _month(now)
        following = _month(first + timedelta(days=31))
        self._make(first)
        end = following
        try:
            self._make(following, _PATIENCE)
        except LockNotAvailable:
            end = min(now + _LATER, following)
            logger.info("the log is locked by another session: the next month will be created later")
        except ObjectNotInPrerequisiteState as error:
            end = min(now + _LATER, following)
            logger.warning("%s", first_line(error))
        self._start = (first - _EPOCH) // _MICROSECOND
        self._end = (end - _EPOCH) // _MICROSECOND

    def _make(self, month: datetime, setting: str = "") -> None:
        with self._connection, self._connection.cursor() as cursor:
            if setting:
                cursor.execute(setting)
            if make_partition(cursor, month):
                logger.info("created the partition of %s", month.strftime("%Y-%m"))


def moment_of(microseconds: int) -> datetime:
    """Return the moment that is this number of microseconds after 2000-01-01 UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds_of(moment: datetime) -> int:
    """Return the number of microseconds from 2000-01-01 UTC to a moment."""
    return (moment - _EPOCH) // _MICROSECOND


def make_partition(cursor: Any, moment: datetime) -> bool:
    """Create the partition of a moment's month (UTC), and return whether it was missing."""
    cursor.execute("SELECT _bemi.partition_v1(%s)", [moment])
    return bool(cursor.fetchone()[0])


def _month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
