"""Bring the changes of another table into the log: of one without months, or that was the log before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson
from django.db import transaction

from bemi_django.exceptions import BemiError
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote

_TABLE = """
SELECT c.oid, pg_has_role(c.relowner, 'USAGE'), greatest(c.reltuples, 0)::bigint,
       c.oid = _bemi.log_v1() OR EXISTS (
           SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = _bemi.log_v1()),
       coalesce(obj_description(c.oid, 'pg_class'), ''),
       pg_has_role((SELECT l.relowner FROM pg_class l WHERE l.oid = _bemi.log_v1()), 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
_COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull AND NOT a.atthasdef
FROM pg_attribute a WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_HAS_INDEX = """
SELECT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = %s AND a.attname = 'id' AND i.indisvalid AND i.indpred IS NULL)
"""
_NEXT = """
WITH batch AS (
    SELECT id, committed_at FROM {table} WHERE (id, committed_at) > (%s::uuid, %s::timestamptz)
    ORDER BY id, committed_at LIMIT %s
)
SELECT (SELECT count(*) FROM batch), b.id::text, b.committed_at::text,
       ARRAY(SELECT DISTINCT date_trunc('month', committed_at, 'UTC')::text FROM batch)
FROM batch b ORDER BY b.id DESC, b.committed_at DESC LIMIT 1
"""
_RANGE = """
(o.id, o.committed_at) > (%s::uuid, %s::timestamptz) AND (o.id, o.committed_at) <= (%s::uuid, %s::timestamptz)
"""
_COPY = """
INSERT INTO {log} ({columns}) SELECT {columns} FROM {table} o WHERE {range}
ORDER BY o.id, o.committed_at ON CONFLICT DO NOTHING RETURNING id::text
"""
_COUNT = "SELECT _bemi.count_changes_v1(%s::text[]::uuid[], false)"
# What the log does not have in exactly this way.
_DIFFERENT = """
SELECT o.id::text FROM {table} o WHERE {range} AND NOT EXISTS (
    SELECT FROM {log} l WHERE l.id = o.id AND l.committed_at = o.committed_at
        AND ROW({ours}) IS NOT DISTINCT FROM ROW({theirs}))
LIMIT 1
"""
_UNREADABLE = "SELECT FROM {table} WHERE id IS NULL OR committed_at IS NULL LIMIT 1"
_FIRST = ("00000000-0000-0000-0000-000000000000", "-infinity")
_MARK = "bemi_django has brought its changes into the log: "


class Conversion(NamedTuple):
    """How far a table was converted.

    Attributes:
        changes: The number of changes that the log has of it.
        place: The id and the moment of the last one.
    """

    changes: int = 0
    place: tuple[str, str] = _FIRST


class Converter:
    """Brings the changes of a table into the log.

    Where it is, is kept in the comment of the table, so another run continues there.

    Args:
        alias: Alias of the database that holds the log.
        name: The table, as ``schema.table``.
        is_anew: Whether to begin again, whatever an earlier run has done.

    Raises:
        BemiError: It is not a table of changes, it is the log, or the role may not do this.
    """

    def __init__(self, alias: str, name: str, is_anew: bool = False) -> None:
        self._alias = alias
        self.name = name
        schema, separator, table = name.partition(".")
        with closed_cursor(alias) as cursor:
            self._log = installed.log_of(cursor).replace("%", "%%")
            cursor.execute(_TABLE, [schema, table])
            found = cursor.fetchone()
            if not separator or found is None:
                raise BemiError(f"there is no table {name!r}: give its name as schema.table")
            self._oid, is_owner, self._estimate, is_log, comment, owns_log = found
            if is_log:
                raise BemiError(f"{name} is the log, or a month of it: there is nothing to convert")
            if not (is_owner and owns_log):
                raise BemiError(
                    f"only the owner of {name} and of the log may convert it: run this as that role"
                )
            self._table = f"{quote(schema)}.{quote(table)}"
            self._columns = self._read_columns(cursor)
            cursor.execute(_HAS_INDEX, [self._oid])
            if cursor.fetchone() != (True,):
                raise BemiError(
                    f"{name} has no index that begins with id, so each batch would read all of it: run "
                    f"CREATE INDEX CONCURRENTLY ON {self._table} (id, committed_at)"
                )
        self.standing = Conversion() if is_anew else _standing(comment)

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1, by the planner's estimate of the rows."""
        return float(min(self.standing.changes / max(self._estimate, self.standing.changes + 1), 0.99))

    def convert(self, rows: int, rate: float, watch: Callable[[str, float], object]) -> None:
        """Copy the rest of the changes in batches, each in a transaction of its own, in which it is compared.

        Args:
            rows: The greatest number of changes in a batch.
            rate: The greatest number of changes in a second; 0 leaves half of the time to others.
            watch: Called with the table and the part that is done.

        Raises:
            BemiError: The log has another change with the same id.
        """
        while True:
            begun = time.monotonic()
            watch(self.name, self.share)
            copied = self._copy_next(rows)
            if not copied:
                return
            spent = time.monotonic() - begun
            pause(max(0.0, copied / rate - spent) if rate else min(spent, 1.0))

    def drop(self, rows: int, watch: Callable[[str, float], object]) -> None:
        """Compare all changes of the table with the log once more, and drop it if the log has all of them.

        Args:
            rows: The number of changes that are compared at a time.
            watch: Called with the table and the part that is done.

        Raises:
            BemiError: The log lacks a change, for example one that was written to the table since.
        """
        with transaction.atomic(using=self._alias), closed_cursor(self._alias) as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            # Nobody uses it any more: it is not the log.
            cursor.execute(f"LOCK TABLE {self._table} IN ACCESS EXCLUSIVE MODE")
            cursor.execute(self._on(_UNREADABLE), [])
            if cursor.fetchone() is not None:
                raise BemiError(f"{self.name} has changes without an id or a time: delete them first")
            place, done = _FIRST, 0
            while (found := self._next(cursor, place, rows)) is not None:
                last = found[1], found[2]
                self._require_equal(cursor, place, last)
                place, done = last, done + found[0]
                watch(self.name, min(done / max(self.standing.changes, 1), 0.99))
            cursor.execute("SET LOCAL _bemi.is_following = 'yes'")
            cursor.execute(f"DROP TABLE {self._table}")

    def _copy_next(self, rows: int) -> int:
        with transaction.atomic(using=self._alias), closed_cursor(self._alias) as cursor:
            found = self._next(cursor, self.standing.place, rows)
            if found is None:
                return 0
            count, *last, months = found
            for month in months:
                cursor.execute("SELECT _bemi.partition_v1(%s::timestamptz)", [month])
            span = [*self.standing.place, *last]
            cursor.execute(self._on(_COPY), span)
            cursor.execute(_COUNT, [[id for (id,) in cursor.fetchall()]])
            self._require_equal(cursor, self.standing.place, (last[0], last[1]))
            # What is old may be due.
            cursor.execute("UPDATE _bemi.walked SET until = to_timestamp(0)")
            standing = Conversion(self.standing.changes + count, (last[0], last[1]))
            self._remember(cursor, standing)
        self.standing = standing
        return int(count)

    def _next(self, cursor: Any, place: tuple[str, str], rows: int) -> Any:
        cursor.execute(self._on(_NEXT), [*place, rows])
        return cursor.fetchone()

    def _require_equal(self, cursor: Any, place: tuple[str, str], last: tuple[str, str]) -> None:
        cursor.execute(self._on(_DIFFERENT), [*place, *last])
        if (found := cursor.fetchone()) is not None:
            raise BemiError(
                f"the log does not have the change {found[0]} as {self.name} has it: nothing was dropped. If "
                "the table was written since, run the command with --anew; if the log has another change "
                "with this id, compare the two and delete one of them"
            )

    def _remember(self, cursor: Any, standing: Conversion) -> None:
        text = _MARK + orjson.dumps([standing.changes, list(standing.place)]).decode()
        # Not an event of the application's tables.
        cursor.execute("SET LOCAL _bemi.is_following = 'yes'")
        cursor.execute(f"COMMENT ON TABLE {self._table} IS '{text}'")
        cursor.execute("SET LOCAL _bemi.is_following = ''")

    def _on(self, query: str) -> str:
        return query.format(
            # The driver looks for parameters in the name, too.
            table=self._table.replace("%", "%%"),
            log=self._log,
            range=_RANGE,
            columns=", ".join(map(quote, self._columns)),
            ours=", ".join(f"l.{quote(column)}" for column in self._columns),
            theirs=", ".join(f"o.{quote(column)}" for column in self._columns),
        )

    def _read_columns(self, cursor: Any) -> list[str]:
        """Return the columns of the table. Raises BemiError if they are not those of changes."""
        cursor.execute(_COLUMNS.format("_bemi.log_v1()"))
        wanted = {name: (kind, is_required) for name, kind, is_required in cursor.fetchall()}
        cursor.execute(_COLUMNS.format("%s"), [self._oid])
        present = {name: kind for name, kind, _ in cursor.fetchall()}
        if problems := list(_problems(wanted, present)):
            raise BemiError(f"{self.name} does not have the columns of the log: {'; '.join(problems)}")
        return list(present)


def pause(seconds: float) -> None:
    """Leave time to others."""
    time.sleep(seconds)


def _problems(wanted: dict[str, tuple[str, bool]], present: dict[str, str]) -> Iterator[str]:
    for name, (kind, is_required) in wanted.items():
        if name not in present and is_required:
            yield f"{name} is missing"
        elif name in present and present[name] != kind:
            yield f"{name} is {present[name]}, not {kind}"
    for name in present.keys() - wanted.keys():
        yield f"the log has no column {name}"


def _standing(comment: str) -> Conversion:
    if not comment.startswith(_MARK):
        return Conversion()
    changes, (id, committed_at) = orjson.loads(comment.removeprefix(_MARK))
    return Conversion(changes, (id, committed_at))
