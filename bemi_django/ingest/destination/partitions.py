"""The monthly partitions of ``changes``: made before a row needs them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

from psycopg2.errors import LockNotAvailable

logger = logging.getLogger(__name__)

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
#: Nothing needs the next month yet, so recording does not wait for its locks: it is tried again later.
_PATIENCE = "SET LOCAL lock_timeout = '100ms'"
_LATER = timedelta(hours=1)


class Partitions:
    """Makes partitions over ``connection``, which must not be inside a transaction when it is asked."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._start = self._end = 0

    def covers(self, moment: int) -> bool:
        """Whether nothing is to be made at ``moment``, in microseconds since 2000-01-01 UTC."""
        return self._start <= moment < self._end

    def make(self, moment: int) -> None:
        """Make the partition of a moment's month, and that of the next month unless the log is locked.

        Raises:
            psycopg2.Error: The month of the moment could not be made.
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
            logger.info("another session has locked the log: the partition of next month is made later")
        self._start = (first - _EPOCH) // _MICROSECOND
        self._end = (end - _EPOCH) // _MICROSECOND

    def _make(self, month: datetime, setting: str = "") -> None:
        with self._connection, self._connection.cursor() as cursor:
            if setting:
                cursor.execute(setting)
            if make_partition(cursor, month):
                logger.info("partition made: changes_%s", month.strftime("%Y_%m"))


def moment_of(microseconds: int) -> datetime:
    """Return the moment that is this number of microseconds after 2000-01-01 UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def make_partition(cursor: Any, moment: datetime) -> bool:
    """Make the partition of a moment's month (UTC), and return whether it was missing."""
    cursor.execute("SELECT _bemi.partition_v1(%s)", [moment])
    return bool(cursor.fetchone()[0])


def _month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
