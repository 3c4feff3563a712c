"""The log, read and written by months over a connection of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg2
from psycopg2 import sql

from bemi_django import conf
from bemi_django.archive.month import Month, month_of
from bemi_django.archive.row_format import is_row, without_header
from bemi_django.exceptions import ArchiveError, first_line
from bemi_django.ingest.rows import copy_format
from bemi_django.schema import installed

_BEGIN = """
SET search_path = pg_catalog, pg_temp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET statement_timeout = 0
"""
_PARTITIONS = """
SELECT c.oid, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = _bemi.log_v1()
"""
_WHOLE_MONTH = re.compile(r"FOR VALUES FROM \('(\d{4})-(\d\d)-01 00:00:00\+00'\) TO \('[^']*'\)")
_HAS_ROWS = "SELECT EXISTS (SELECT FROM {} WHERE committed_at >= %s AND committed_at < %s)"
_MONTHS_OF = """
SELECT DISTINCT date_trunc('month', committed_at) FROM {} WHERE tableoid = %s AND isfinite(committed_at)
"""
_ROWS = """
COPY (SELECT {columns} FROM {log} WHERE committed_at >= {start} AND committed_at < {end}
      AND (id, committed_at) > ({id}, timestamptz '2000-01-01 00:00:00+00' + {moment} * interval '1 us')
      ORDER BY id, committed_at LIMIT {limit}) TO STDOUT (FORMAT binary)
"""
_FIRST = (UUID(int=0), -(2**52))
#: Any number, as long as it is always the same: one process at a time works on the archive of a log.
_LOCK = 7_305_515_062_118_304_116

#: The id and the moment (microseconds since 2000-01-01 UTC) of a change: they sort as the files do.
RowPlace = tuple[UUID, int]


class Copied(NamedTuple):
    """How many rows were read, and the place of the last one."""

    rows: int
    last: RowPlace


class LiveLog:
    """The log of the destination.

    Args:
        connection: A connection of psycopg2 in autocommit.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        connection.set_client_encoding("UTF8")
        with connection.cursor() as cursor:
            cursor.execute(_BEGIN)
            self.name = installed.log_of(cursor)

    def months(self, before: Month) -> list[Month]:
        """Return the months before another one that have changes."""
        found: set[Month] = set()
        for oid, bounds in self._all(_PARTITIONS):
            if whole := _WHOLE_MONTH.fullmatch(bounds):
                month = Month(int(whole[1]), int(whole[2]))
                if month < before and self._one(self._query(_HAS_ROWS), month.start, month.next.start):
                    found.add(month)
            else:
                found |= {month_of(start) for (start,) in self._all(self._query(_MONTHS_OF), oid)}
        return sorted(month for month in found if month < before)

    def present_month(self) -> Month:
        """Return the month in which the server is."""
        return month_of(self._one("SELECT now()"))

    def rows(
        self,
        month: Month,
        columns: Collection[str],
        after: RowPlace | None,
        limit: int | None,
        receive: Callable[[bytes], object],
    ) -> Copied:
        """Read changes of a month in the order of their ids.

        Args:
            month: The month.
            columns: The names of the columns.
            after: The place of the change after which to begin, or None for the first one.
            limit: The greatest number of changes, or None for all.
            receive: Called with each row in the binary format of COPY.
        """
        reading = _Reading(tuple(columns), receive)
        id, moment = after or _FIRST
        query = sql.SQL(_ROWS).format(
            columns=_names(columns),
            log=sql.SQL(self.name),
            start=sql.Literal(month.start),
            end=sql.Literal(month.next.start),
            id=sql.Literal(str(id)) + sql.SQL("::uuid"),
            moment=sql.Literal(moment),
            limit=sql.Literal(limit),
        )
        with self._connection.cursor() as cursor:
            cursor.copy_expert(query, reading)
        return Copied(reading.count, reading.last)

    def insert(self, columns: Collection[str], rows: Iterator[bytes]) -> None:
        """Write rows, given in the binary format of COPY, all or none of them.

        Raises:
            psycopg2.errors.UniqueViolation: One of them is in the log.
        """
        query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.SQL(self.name), _names(columns))
        with self._connection.cursor() as cursor:
            cursor.copy_expert(query, _Writing(rows), _Writing.PIECE)

    def make_partition(self, month: Month) -> None:
        """Create the partition of a month if it is missing."""
        self._one("SELECT _bemi.partition_v1(%s)", month.start)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a block in a transaction."""
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield
            except BaseException:
                if not self._connection.closed:
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def lock(self) -> None:
        """Make sure that no other process works on the archive, until the connection is closed."""
        if not self._one("SELECT pg_try_advisory_lock(%s)", _LOCK):
            raise ArchiveError("another 'bemi archive' or 'bemi import' is running: wait until it is done")

    def _query(self, text: str) -> Any:
        # The driver looks for parameters in the name, too.
        return sql.SQL(text).format(sql.SQL(self.name.replace("%", "%%")))

    def _all(self, query: Any, *parameters: Any) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

    def _one(self, query: Any, *parameters: Any) -> Any:
        return self._all(query, *parameters)[0][0]


@contextmanager
def open_log() -> Iterator[LiveLog]:
    """Yield the log of the destination, and the only process that works on its archive.

    Raises:
        ArchiveError: Another process works on it, or the database cannot be reached.
        NotInstalled: There is no log.
    """
    try:
        connection = psycopg2.connect(**conf.connection_parameters(conf.destination()))
    except psycopg2.OperationalError as error:
        raise ArchiveError(f"cannot connect to the database of the log: {first_line(error)}") from error
    connection.autocommit = True
    try:
        log = LiveLog(connection)
        log.lock()
        yield log
    finally:
        connection.close()


class _Reading:
    """A file that takes the rows of a COPY, each of which is one message of the server."""

    def __init__(self, columns: tuple[str, ...], receive: Callable[[bytes], object]) -> None:
        self._id, self._moment = columns.index("id"), columns.index("committed_at")
        self._receive = receive
        self._is_begun = False
        self._row = b""
        self.count = 0

    def write(self, message: bytes) -> int:
        row = message
        if not self._is_begun:
            row = without_header(row)
            self._is_begun = True
        if row and is_row(row):
            self._receive(row)
            self._row = row
            self.count += 1
        return len(message)

    @property
    def last(self) -> RowPlace:
        if not self.count:
            return _FIRST
        return UUID(bytes=_field(self._row, self._id)), int.from_bytes(
            _field(self._row, self._moment), "big", signed=True
        )


class _Writing:
    """A file that COPY reads."""

    PIECE = 1 << 20

    def __init__(self, rows: Iterator[bytes]) -> None:
        self._rows = self._all(rows)
        self._left = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._left) < size and (row := next(self._rows, None)) is not None:
            self._left += row
        piece = bytes(self._left[:size])
        del self._left[:size]
        return piece

    @staticmethod
    def _all(rows: Iterator[bytes]) -> Iterator[bytes]:
        yield copy_format.HEADER
        yield from rows
        yield copy_format.TRAILER


def _names(columns: Collection[str]) -> Any:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _field(row: bytes, number: int) -> bytes:
    place = 2
    while True:
        length = int.from_bytes(row[place : place + 4], "big", signed=True)
        if number == 0:
            return row[place + 4 : place + 4 + length]
        place += 4 + max(length, 0)
        number -= 1
