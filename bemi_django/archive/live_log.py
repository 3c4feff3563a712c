"""The log, read and written by months over a connection of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql

from bemi_django import conf
from bemi_django.archive.month import Month, month_of
from bemi_django.archive.row_streams import FIRST, ReadRows, RowPlace, WrittenRows
from bemi_django.exceptions import ArchiveError
from bemi_django.schema import installed
from bemi_django.schema.locking import Claim

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
_RETURNING = "CREATE TEMPORARY TABLE bemi_returning AS SELECT {columns} FROM {log} WITH NO DATA"
_ADD_MISSING = """
INSERT INTO {log} ({columns}) SELECT {columns} FROM pg_temp.bemi_returning ON CONFLICT DO NOTHING
"""
#: One process at a time works on the archive of a log.
_CLAIM = "_bemi.archive"


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
        reading = ReadRows(tuple(columns), receive)
        id, moment = after or FIRST
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
            cursor.copy_expert(query, WrittenRows(rows), WrittenRows.PIECE)

    def insert_missing(self, columns: Collection[str], rows: Iterator[bytes]) -> int:
        """Write the rows whose ids the log does not have, in an open transaction; return their number."""
        names, log = _names(columns), sql.SQL(self.name)
        copy = sql.SQL("COPY pg_temp.bemi_returning ({}) FROM STDIN (FORMAT binary)").format(names)
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL(_RETURNING).format(columns=names, log=log))
            cursor.copy_expert(copy, WrittenRows(rows), WrittenRows.PIECE)
            cursor.execute(sql.SQL(_ADD_MISSING).format(columns=names, log=log))
            added = int(cursor.rowcount)
            cursor.execute("DROP TABLE pg_temp.bemi_returning")
        return added

    def note_imported(self, month: Month, changes: int, who: Mapping[str, Any]) -> None:
        """Note in the chain of the log, if it has one, that a month was brought back."""
        details = json.dumps({"month": str(month), "changes": changes, "who": dict(who)})
        self._one("SELECT _bemi.note_v1('imported', %s::jsonb)", details)

    def make_partition(self, month: Month) -> None:
        """Create the partition of a month if it is missing."""
        self._one("SELECT _bemi.partition_v1(%s)", month.start)

    def note_returned(self, month: Month) -> None:
        """Note that changes of a month were brought back: they may be due again, and tables complete."""
        self._one("SELECT _bemi.note_returned_v1(%s)", month.start)

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

    def claim(self) -> None:
        """Make sure that no other process works on the archive, until the connection is closed."""
        with self._connection.cursor() as cursor:
            other = Claim(cursor, _CLAIM, self.name, "SELECT").take()
        if other:
            raise ArchiveError(
                f"another 'bemi archive' or 'bemi import' is running ({other}): wait until it is done"
            )

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
        ArchiveError: Another process works on it.
        psycopg2.Error: The database cannot be reached.
        NotInstalled: There is no log.
    """
    connection = psycopg2.connect(**conf.connection_parameters(conf.destination()))
    connection.autocommit = True
    try:
        log = LiveLog(connection)
        log.claim()
        yield log
    finally:
        connection.close()


def _names(columns: Collection[str]) -> Any:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
