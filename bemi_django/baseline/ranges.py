"""Read a table range by range, each between two messages in the WAL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
from psycopg2.sql import SQL, Identifier

from bemi_django.baseline.progress_record import OpenRange, ProgressRecord
from bemi_django.baseline.range_query import leave_range, next_place
from bemi_django.baseline.read_table import read_table
from bemi_django.verification.moment import Moment

#: Bytes of values in a range of several rows.
_RANGE_BYTES = 16 * 1024 * 1024
# What a row that is too large is refused with: program limits, and an allocation that is too large.
_TOO_LARGE = ("54", "XX000")

# The low watermark. It is not part of a transaction, so that its position is before the snapshot.
_LOW = "SELECT pg_logical_emit_message(false, '_bemi_baseline', 'low')::text"
# The high watermark, which is sent when the transaction has committed.
_HIGH = "SELECT pg_logical_emit_message(true, '_bemi_baseline', 'high')"
# Sooner than the server looks for deadlocks: those who change rows are not to lose.
_GIVE_WAY = "SET LOCAL lock_timeout = '200ms'"
# In a database that takes any bytes, names are escaped. The place to go on from must be the key itself, so
# there bytes that are no text are an error.
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL client_encoding = 'UTF8'"
_MOMENT = "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn() - '0/0'"
_ENCODING = "SELECT CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END"
_REFUSED = """
SELECT reason FROM _bemi.dead_letters
WHERE slot = %s AND change_id IS NULL AND position > %s::pg_lsn - '0/0' AND origin ->> 'xid' = %s
"""
_RECORDED = """
SELECT _bemi.recorded_v1(%s, %s::pg_lsn, %s::pg_snapshot, %s, %s, %s, %s::pg_lsn, '{{}}') IS NOT NULL, (
    SELECT count(*) FROM {log}
    WHERE "table" = %s AND schema = %s AND database = %s AND primary_key = ANY (%s) AND operation = 'BASELINE'
        AND transaction_id = %s)
"""


class Ranges:
    """The ranges of one table.

    Args:
        source: A connection to the source, in autocommit.
        cursor: A cursor of it.
        record: The record of the table.
        oid: The oid of the table.
        condition: A condition on the rows, as SQL; empty for all.
        context: The context of the rows in the log.
        is_locking: Whether rows are to stay as they are up to the position of their range in the stream, for
            a worker without a log that could be asked which of them have changed.
    """

    def __init__(
        self,
        source: Any,
        cursor: Any,
        record: ProgressRecord,
        oid: int,
        condition: str,
        context: Mapping[str, Any],
        *,
        is_locking: bool = False,
    ) -> None:
        self._source = source
        self._is_locking = is_locking
        self._cursor = cursor
        self._record = record
        self._table = read_table(cursor, oid)
        self._condition = condition
        self._context = context
        # Rows that were added after the last range have changes. There may be some each time one looks.
        self._is_at_end = False
        cursor.execute(_ENCODING)
        (self._encoding,) = cursor.fetchone()

    def leave_next(self, upto: list[str] | None, rows: int) -> int | None:
        """Read the next range and leave its rows for the worker.

        Args:
            upto: The place of the last row before.
            rows: How many rows to read at most.

        Returns:
            The number of rows that were read, 0 at the end of the table. None if they are too large together.
        """
        if self._is_at_end:
            return 0
        self._cursor.execute(_LOW)
        (low,) = self._cursor.fetchone()
        try:
            with self._transaction():
                read, is_last = self._leave(upto, rows, low)
            self._is_at_end = is_last
            return read
        except psycopg2.Error as error:
            if not (error.pgcode or "").startswith(_TOO_LARGE):
                raise
        if rows > 1:
            return None
        with self._transaction():
            self._cursor.execute(next_place(self._table, upto))
            self._record.pass_by(self._cursor.fetchone()[0], 1, too_large=1)
        return 1

    def moment(self) -> Moment:
        """Return a moment after the ranges that were read."""
        self._cursor.execute(_MOMENT)
        snapshot, lsn = self._cursor.fetchone()
        return Moment(snapshot, int(lsn))

    def refusal(self, destination: Any, slot: str, range_: OpenRange) -> str | None:
        """Return why the worker could not take a range; None if it could."""
        with destination.cursor() as cursor:
            cursor.execute(_REFUSED, [slot, range_.low, range_.xid])
            found = cursor.fetchone()
        return None if found is None else str(found[0])

    def recorded(self, destination: Any, slot: str, database: str, range_: OpenRange) -> int | None:
        """Return how many rows of a range are in the log; None if the range has to be read again."""
        schema, name = self._table.root
        with destination.cursor() as cursor:
            cursor.execute(
                _RECORDED.format(log=destination.log.replace("%", "%%")),
                [
                    *(slot, range_.low, range_.snapshot, database, schema, name, self._table.since),
                    *(name, schema, database, self._record.keys(range_), int(range_.xid)),
                ],
            )
            is_certain, count = cursor.fetchone()
        return int(count) if is_certain else None

    def left(self, range_: OpenRange) -> int:
        """Return how many rows were left for the worker."""
        return len(self._record.keys(range_))

    def close(self, range_: OpenRange, recorded: int | None) -> None:
        """Note how many rows of a range were recorded; None if it has to be read again."""
        self._is_at_end &= recorded is not None
        with self._transaction():
            self._record.close_range(range_, recorded)

    def _leave(self, upto: list[str] | None, rows: int, low: str) -> tuple[int, bool]:
        """Return the number of rows that were read, and whether the snapshot has no more."""
        # Before the snapshot: the table stays as it is up to the commit, and is not truncated.
        name = Identifier(self._table.schema, self._table.name)
        self._cursor.execute(SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(name))
        self._table = read_table(self._cursor, self._table.oid)
        limits = rows, _RANGE_BYTES, self._encoding
        query = leave_range(self._table, upto, self._condition, *limits, is_locking=self._is_locking)
        self._cursor.execute(query)
        read, left, last, is_last = self._cursor.fetchone()
        if left:
            self._record.open_range(last, read, low, self._table.description, self._context)
            self._cursor.execute(_HIGH)
        elif read:
            self._record.pass_by(last, read)
        return int(read), bool(is_last)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._cursor.execute(_BEGIN)
        try:
            if self._is_locking:
                self._cursor.execute(_GIVE_WAY)
            yield
        except BaseException:
            with suppress(psycopg2.Error):
                self._cursor.execute("ROLLBACK")
            raise
        self._cursor.execute("COMMIT")
