"""The monthly partitions of ``changes``: made before a row needs them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

logger = logging.getLogger(__name__)

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


class Partitions:
    """Makes partitions over ``connection``, which must not be inside a transaction when it is asked."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._start = self._end = 0

    def covers(self, moment: int) -> bool:
        """Whether the month of ``moment``, in microseconds since 2000-01-01 UTC, is known to be there."""
        return self._start <= moment < self._end

    def make(self, moment: int) -> None:
        """Make the partitions of a moment's month and of the next one, when they are missing."""
        first = _month(_EPOCH + moment * _MICROSECOND)
        following = _month(first + timedelta(days=31))
        with self._connection, self._connection.cursor() as cursor:
            for month in (first, following):
                cursor.execute("SELECT _bemi.partition_v1(%s)", [month])
                if cursor.fetchone()[0]:
                    logger.info("partition made: changes_%s", month.strftime("%Y_%m"))
        self._start = (first - _EPOCH) // _MICROSECOND
        self._end = (following - _EPOCH) // _MICROSECOND


def _month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
