"""Is the log complete and true? Fold it into rows and compare them with the tables, in one snapshot."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from psycopg2.sql import SQL, Composable, Identifier, Literal

from bemi_django.exceptions import BemiError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.checkpoint import Checkpoint, Checkpoints
from bemi_django.ingest.rows.layout_catalog import home_of
from bemi_django.ingest.stream.connections import connect_destination, connect_source
from bemi_django.wire.lsn import format_lsn

#: Seconds without any progress of the log after which it is taken to stand still.
PATIENCE_SECONDS = 30.0
_EXAMPLES = 3

_TABLES = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind = 'p', _bemi_key.columns
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = %s
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(a.attname ORDER BY k.place), '{}')::text[] AS columns
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts) _bemi_key
ORDER BY 2, 3
"""
_OF_TABLE = SQL("""c.database = %(database)s AND c.schema = %(schema)s AND c."table" = %(table)s
      AND pg_visible_in_snapshot(c.transaction_id::text::xid8, %(snapshot)s::pg_snapshot)""")
# A row whose table was truncated later is gone.
_TRUNCATED = SQL("""
WITH truncated AS MATERIALIZED (
    SELECT DISTINCT ON (c.partition) c.partition, c.id FROM changes c
    WHERE {of_table} AND c.operation = 'TRUNCATE' ORDER BY c.partition, c.id DESC
)
""").format(of_table=_OF_TABLE)
_ALIVE = SQL("""
    FROM changes c LEFT JOIN truncated t ON t.partition IS NOT DISTINCT FROM c.partition
    WHERE {of_table} AND (t.id IS NULL OR t.id < c.id) AND c.operation IN ('CREATE', 'UPDATE', 'DELETE')
""").format(of_table=_OF_TABLE)
_LAST = _TRUNCATED + SQL("""
SELECT DISTINCT ON (key COLLATE "C") key, state FROM (
    SELECT c.primary_key AS key, c.id, CASE WHEN c.operation <> 'DELETE' THEN c.after::text END AS state
    {alive}
    UNION ALL
    SELECT c.previous_primary_key, c.id, NULL {alive} AND c.previous_primary_key IS NOT NULL
) entries WHERE key IS NOT NULL ORDER BY key COLLATE "C", id DESC
""").format(alive=_ALIVE)
_OF_KEY = _TRUNCATED + SQL("""
SELECT CASE WHEN c.operation <> 'CREATE' AND coalesce(c.previous_primary_key, c.primary_key) = %(key)s
            THEN c.before::text END,
       CASE WHEN c.operation <> 'DELETE' AND c.primary_key = %(key)s THEN c.after::text END
{alive} AND %(key)s IN (c.primary_key, c.previous_primary_key) ORDER BY c.id
""").format(alive=_ALIVE)
_IMAGES = _TRUNCATED + SQL("""
SELECT image COLLATE "C", sum(weight)::bigint, sum(weight) FILTER (WHERE weight > 0)::bigint FROM (
    SELECT c.after::text AS image, 1 AS weight {alive} AND c.operation <> 'DELETE'
    UNION ALL
    SELECT c.before::text, -1 {alive} AND c.operation <> 'CREATE'
) images GROUP BY image ORDER BY image COLLATE "C"
""").format(alive=_ALIVE)

_SKIPPED = SQL("""
SELECT coalesce(sum(skipped.number::bigint), 0)::bigint
FROM changes c CROSS JOIN LATERAL jsonb_each_text(c.context -> 'rows') skipped (operation, number)
WHERE {of_table} AND c.operation = 'SKIPPED'
""").format(of_table=_OF_TABLE)


class ComparedTable(NamedTuple):
    oid: int
    schema: str
    name: str
    is_partitioned: bool
    key: list[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def rows(self) -> Composable:
        """For FROM: a root with its partitions, a parent without its children, which have their own logs."""
        only = SQL("") if self.is_partitioned else SQL("ONLY ")
        return only + Identifier(self.schema, self.name)


@dataclass
class Verified:
    """What one table and its log say of each other; ``rows`` live in the table, ``older`` than the log.

    ``skipped`` changes were not to be recorded: they may be what the differences come from.
    """

    table: str
    rows: int = 0
    older: int = 0
    skipped: int = 0
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def differences(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.different)

    def __str__(self) -> str:
        parts = [f"{self.rows} rows"]
        if self.older:
            parts.append(f"{self.older} of them older than the log")
        if self.skipped:
            parts.append(f"{self.skipped} changes skipped")
        for what, keys in (
            ("not in the log", self.missing),
            ("only in the log", self.extra),
            ("different", self.different),
        ):
            if keys:
                more = ", ..." if len(keys) > _EXAMPLES else ""
                parts.append(f"{len(keys)} {what} ({', '.join(keys[:_EXAMPLES])}{more})")
        if not self.differences:
            parts.append("as in the log")
        return f"{self.table}: {', '.join(parts)}"


def verify(
    config: WorkerConfig, only: Sequence[str] = (), patience: float = PATIENCE_SECONDS
) -> Iterator[Verified]:
    """Compare every tracked table with its log, one after another, as they were at one moment.

    Waits until the log has reached that moment; raises BemiError when it stands still for ``patience``
    seconds. ``only`` names tables as ``schema.table``.
    """
    with closing(connect_source(config)) as source, closing(connect_destination(config)) as destination:
        source.autocommit = False
        source.set_session(isolation_level="REPEATABLE READ", readonly=True)
        verifier = _Verifier(config, source, destination)
        verifier.wait_for_log(patience)
        for table in verifier.tables(only):
            yield verifier.verify(table)


class _Verifier:
    def __init__(self, config: WorkerConfig, source: Any, destination: Any) -> None:
        self._config = config
        self._source = source
        self._destination = destination
        with source.cursor() as cursor:
            cursor.execute(
                "SELECT current_database(), pg_current_snapshot()::text, pg_current_wal_insert_lsn() - '0/0'"
            )
            self._database, self._snapshot, lsn = cursor.fetchone()
        self._lsn = int(lsn)
        self._start_xid = 0

    def wait_for_log(self, patience: float) -> None:
        with closing(connect_source(self._config)) as server, server.cursor() as cursor:
            # Behind the snapshot: the worker writes its checkpoint when it comes to it.
            cursor.execute("SELECT pg_logical_emit_message(true, '_bemi_mark', %s)", [uuid.uuid4().hex])
        checkpoints = Checkpoints(self._destination, self._config.slot)
        reached, deadline = -1, 0.0
        while True:
            checkpoint = self._checkpoint(checkpoints)
            if checkpoint.lsn >= self._lsn:
                return
            if checkpoint.lsn > reached:
                reached, deadline = checkpoint.lsn, time.monotonic() + patience
            elif time.monotonic() > deadline:
                raise BemiError(
                    f"the log ends at {format_lsn(reached)} and should reach {format_lsn(self._lsn)}: "
                    "is 'manage.py bemi run' at work?"
                )
            time.sleep(0.05)

    def _checkpoint(self, checkpoints: Checkpoints) -> Checkpoint:
        checkpoint = checkpoints.read()
        if checkpoint is None:
            raise BemiError(f"there is no log of the slot {self._config.slot} yet: run 'manage.py bemi run'")
        self._start_xid = checkpoint.start_xid
        return checkpoint

    def tables(self, only: Sequence[str]) -> list[ComparedTable]:
        with self._source.cursor() as cursor:
            cursor.execute(_TABLES, [self._config.publication])
            tables = [ComparedTable(*row) for row in cursor.fetchall()]
        unknown = set(only) - {str(table) for table in tables}
        if unknown:
            raise BemiError(f"not tracked: {', '.join(sorted(unknown))}")
        return [table for table in tables if not only or str(table) in only]

    def verify(self, table: ComparedTable) -> Verified:
        result = self._by_key(table) if table.key else self._by_image(table)
        with self._destination.cursor() as cursor:
            cursor.execute(_SKIPPED, self._parameters(table))
            (result.skipped,) = cursor.fetchone()
        return result

    def _by_key(self, table: ComparedTable) -> Verified:
        result = Verified(str(table))
        log = self._stream(self._destination, _LAST, self._parameters(table))
        live = self._stream(self._source, self._live_by_key(table))
        for key, logged, found in _merge(log, live):
            result.rows += found is not None
            state = logged[0] if logged else None
            if logged is None:
                self._note_unlogged(result, key, is_old=found[1])
            elif state != (found[0] if found else None):
                self._note_mismatch(result, table, key, found[0] if found else None)
        return result

    def _note_unlogged(self, result: Verified, key: str, *, is_old: bool) -> None:
        if is_old:
            result.older += 1
        else:
            result.missing.append(key)

    def _note_mismatch(self, result: Verified, table: ComparedTable, key: str, found: str | None) -> None:
        """Look closer: the table may have been altered, or rows have exchanged their keys."""
        state = self._fold(table, key)
        if state is None and found is not None:
            result.missing.append(key)
        elif state is not None and found is None:
            result.extra.append(key)
        elif state is not None and found is not None:
            columns = self._differing(table, state, found)
            if columns:
                result.different.append(f"{key}: {', '.join(columns)}")

    def _fold(self, table: ComparedTable, key: str) -> str | None:
        """The image that is left when every change of a key has taken one away and put one there."""
        images: list[str] = []
        with self._destination.cursor() as cursor:
            cursor.execute(_OF_KEY, {**self._parameters(table), "key": key})
            for before, after in cursor.fetchall():
                if before in images:
                    images.remove(before)
                if after is not None:
                    images.append(after)
        return images[-1] if images else None

    def _differing(self, table: ComparedTable, state: str, found: str) -> list[str]:
        """Columns with other values, the state taken as a row of the table as it is defined now."""
        query = SQL("SELECT to_jsonb(jsonb_populate_record(NULL::{}, %s::jsonb))::text").format(
            Identifier(table.schema, table.name)
        )
        with self._source.cursor() as cursor:
            cursor.execute(query, [state])
            logged = orjson.loads(cursor.fetchone()[0])
        live = orjson.loads(found)
        known = orjson.loads(state)
        return [name for name in known if name in live and live[name] != logged[name]]

    def _by_image(self, table: ComparedTable) -> Verified:
        """Rows without a key are counted: how often the log and the table have each."""
        result = Verified(str(table))
        log = self._stream(self._destination, _IMAGES, self._parameters(table))
        live = self._stream(self._source, self._live_by_image(table))
        for image, logged, found in _merge(log, live):
            left, ever = logged or (0, 0)
            total, new = found or (0, 0)
            result.rows += total
            result.older += total - new
            # Which of two equal rows was deleted nobody can tell: the older one may have been.
            result.extra += [image] * max(left - total, 0)
            result.missing += [image] * max(new - (ever or 0), 0)
        return result

    def _live_by_key(self, table: ComparedTable) -> Composable:
        # format() prints as the stream does, which a cast to text does not for every type.
        if len(table.key) == 1:
            key: Composable = SQL("format('%s', t.{})").format(Identifier(table.key[0]))
        else:
            parts = SQL(" || ', ' || ").join(
                SQL("coalesce(to_jsonb(t.{})::text, 'null')").format(Identifier(column))
                for column in table.key
            )
            key = SQL("'[' || {} || ']'").format(parts)
        return SQL(
            'SELECT {0} COLLATE "C", to_jsonb(t)::text, {1} FROM {2} t ORDER BY {0} COLLATE "C"'
        ).format(key, self._is_old(table), table.rows)

    def _live_by_image(self, table: ComparedTable) -> Composable:
        return SQL(
            'SELECT to_jsonb(t)::text COLLATE "C", count(*), count(*) FILTER (WHERE NOT {}) '
            "FROM {} t GROUP BY 1 ORDER BY 1"
        ).format(self._is_old(table), table.rows)

    def _is_old(self, table: ComparedTable) -> Composable:
        """Whether a row was there before the table was tracked, and the slot made."""
        since = SQL(
            "greatest({}, (SELECT min(since_xid::text::bigint) FROM {}._bemi_relations WHERE relation = {}))"
        ).format(Literal(self._start_xid), home_of(self._source), Literal(table.oid))
        return SQL("age(t.xmin) > age({}::text::xid8::xid)").format(since)

    def _parameters(self, table: ComparedTable) -> dict[str, str]:
        return {
            "database": self._database,
            "schema": table.schema,
            "table": table.name,
            "snapshot": self._snapshot,
        }

    def _stream(self, connection: Any, query: Any, parameters: Any = None) -> Iterator[tuple[Any, ...]]:
        with connection.cursor(name=f"bemi_{uuid.uuid4().hex}") as cursor:
            cursor.itersize = 5000
            cursor.execute(query, parameters)
            yield from cursor


def _merge(
    left: Iterator[tuple[Any, ...]], right: Iterator[tuple[Any, ...]]
) -> Iterator[tuple[str, Any, Any]]:
    """Pair two streams that are sorted by their first column; None stands for what is in the other only."""
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        key = min(row[0] for row in (one, two) if row is not None)
        in_one = one is not None and one[0] == key
        in_two = two is not None and two[0] == key
        yield key, one[1:] if in_one and one else None, two[1:] if in_two and two else None
        if in_one:
            one = next(left, None)
        if in_two:
            two = next(right, None)
