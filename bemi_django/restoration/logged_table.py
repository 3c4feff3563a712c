"""The rows that a table had at a moment, as the log knows them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.utils import timezone

from bemi_django.exceptions import HistoryError
from bemi_django.time_travel.moments import Moment, with_usual_offset
from bemi_django.verification.streams import stream

_OF_TABLE = """
c.database = %(database)s AND c.schema = %(schema)s AND c."table" = %(table)s AND NOT c.diverged
"""
# One statement empties a table partition by partition, with a change of each.
_LAST_TRUNCATE = """
WITH truncates AS (
    SELECT c.id, c.transaction_id, c.committed_at FROM {log} c
    WHERE {of_table} AND c.primary_key IS NULL AND c.operation = 'TRUNCATE'
),
last AS (SELECT t.* FROM truncates t ORDER BY t.id DESC LIMIT 1)
SELECT t.id::text, t.committed_at
FROM truncates t JOIN last l ON (l.transaction_id, l.committed_at) = (t.transaction_id, t.committed_at)
WHERE NOT EXISTS (
    SELECT FROM {log} c
    WHERE {of_table} AND c.operation IN ('CREATE', 'UPDATE', 'DELETE') AND c.id > t.id AND c.id < l.id)
ORDER BY t.id LIMIT 1
"""
# The greatest of the ids before another one.
_BEFORE = """
SELECT c.id::text FROM {log} c WHERE c.id < %(id)s::uuid ORDER BY c.id DESC LIMIT 1
"""
_END = "SELECT coalesce((SELECT c.id::text FROM {log} c ORDER BY c.id DESC LIMIT 1), %(first)s)"
_OF_TIME = "SELECT c.id::text FROM {log} c WHERE c.committed_at <= %(time)s ORDER BY c.id DESC LIMIT 1"
_OF_TRANSACTION = """
SELECT _bemi.bound_v1(max(_bemi.sequence_v1(c.id)))::text FROM {log} c
WHERE c.transaction_id = %(xid)s AND c.database = %(database)s AND NOT c.diverged
"""
_OF_LSN = "SELECT _bemi.bound_v1(_bemi.sequence_v1(%(slot)s::text, %(lsn)s::pg_lsn))::text"
_OF_CHANGE = "SELECT _bemi.bound_v1(_bemi.sequence_v1(%(id)s::uuid))::text"
_FACTS = """
SELECT EXISTS (SELECT FROM {log} c WHERE {of_table}
               AND c.operation IN ('CREATE', 'UPDATE', 'DELETE', 'BASELINE')),
       EXISTS (SELECT FROM {log} c WHERE {of_table} AND c.primary_key IS NULL AND c.operation = 'TRUNCATE'
               AND c.partition IS NULL AND c.id <= %(bound)s::uuid),
       (SELECT coalesce(sum(skipped.number::bigint), 0)::bigint
        FROM {log} c CROSS JOIN LATERAL jsonb_each_text(c.context -> 'rows') skipped (operation, number)
        WHERE {of_table} AND c.primary_key IS NULL AND c.operation = 'SKIPPED' AND c.id <= %(bound)s::uuid),
       (SELECT count(*) FROM {log} c
        WHERE c.database = %(database)s AND c."table" = '' AND c.operation = 'GAP'
            AND c.id <= %(bound)s::uuid),
       EXISTS (SELECT FROM {log} c WHERE {of_table} AND c.primary_key IS NULL
               AND c.operation IN ('CREATE', 'UPDATE', 'DELETE')),
       (SELECT to_char(max(k.committed_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
        FROM _bemi.incomplete k
        WHERE k.database = %(database)s
            AND (k.schema = %(schema)s AND k."table" = %(table)s OR k."table" = ''))
"""
# The last change up to the moment tells how a row was; without one, the first change after it.
_ROWS = """
WITH emptied AS MATERIALIZED (
    SELECT DISTINCT ON (c.partition) c.partition, c.id FROM {log} c
    WHERE {of_table} AND c.primary_key IS NULL AND c.operation = 'TRUNCATE' AND c.id <= %(bound)s::uuid
    ORDER BY c.partition, c.id DESC
),
next_emptied AS MATERIALIZED (
    SELECT min(c.id::text)::uuid AS id FROM {log} c
    WHERE {of_table} AND c.primary_key IS NULL AND c.operation = 'TRUNCATE' AND c.id > %(bound)s::uuid
),
touched AS MATERIALIZED (
    -- What a mask has left of a value is not the value.
    SELECT c.id, c.position, c.operation, c.partition, c.primary_key, c.previous_primary_key,
           c.before - m.names AS before, c.after - m.names AS after,
           jsonb_build_object('before', coalesce(c.unavailable -> 'before', '[]') || m.masked,
                              'after', coalesce(c.unavailable -> 'after', '[]') || m.masked) AS unavailable
    FROM {log} c
    CROSS JOIN LATERAL (SELECT coalesce(c.unavailable -> 'masked', '[]') AS masked,
                               ARRAY(SELECT jsonb_array_elements_text(c.unavailable -> 'masked')) AS names) m
    WHERE {of_table} AND c.primary_key IS NOT NULL
        AND c.operation IN ('CREATE', 'UPDATE', 'DELETE', 'BASELINE')
),
-- Where keys are deferred, a row may come to a key before another one leaves it in the same transaction.
exchanged AS MATERIALIZED (
    SELECT d.id AS departure,
           array_agg(a.id) FILTER (
               WHERE a.operation = 'CREATE' OR a.previous_primary_key IS NOT NULL) AS arrivals
    FROM touched d JOIN touched a
        ON a.position = d.position AND a.primary_key = coalesce(d.previous_primary_key, d.primary_key)
        AND a.id < d.id AND a.operation <> 'DELETE'
    WHERE d.operation = 'DELETE' OR d.previous_primary_key IS NOT NULL
    GROUP BY d.id
    HAVING bool_or(a.operation = 'CREATE' OR a.previous_primary_key IS NOT NULL)
        AND NOT bool_or(a.after = d.before)
),
arrived AS MATERIALIZED (SELECT DISTINCT unnest(x.arrivals) AS id FROM exchanged x),
past AS MATERIALIZED (
    SELECT DISTINCT ON (key COLLATE "C") key, image, unavailable FROM (
        SELECT c.primary_key AS key, c.id, CASE WHEN c.operation <> 'DELETE' THEN c.after END AS image,
               c.unavailable -> 'after' AS unavailable
        FROM touched c LEFT JOIN emptied e ON e.partition IS NOT DISTINCT FROM c.partition
        LEFT JOIN exchanged x ON x.departure = c.id
        WHERE c.id <= %(bound)s::uuid AND (e.id IS NULL OR e.id < c.id)
            AND (c.operation <> 'DELETE' OR x.departure IS NULL)
        UNION ALL
        SELECT c.previous_primary_key, c.id, NULL, NULL
        FROM touched c LEFT JOIN emptied e ON e.partition IS NOT DISTINCT FROM c.partition
        LEFT JOIN exchanged x ON x.departure = c.id
        WHERE c.id <= %(bound)s::uuid AND (e.id IS NULL OR e.id < c.id) AND c.previous_primary_key IS NOT NULL
            AND x.departure IS NULL
    ) entries ORDER BY key COLLATE "C", id DESC
),
later AS MATERIALIZED (
    SELECT DISTINCT ON (key COLLATE "C") key, image, unavailable FROM (
        SELECT coalesce(c.previous_primary_key, c.primary_key) AS key, c.id,
               CASE c.operation WHEN 'BASELINE' THEN c.after WHEN 'CREATE' THEN NULL ELSE c.before
                   END AS image,
               c.unavailable -> CASE c.operation WHEN 'BASELINE' THEN 'after' ELSE 'before' END AS unavailable
        FROM next_emptied n CROSS JOIN touched c LEFT JOIN arrived r ON r.id = c.id
        WHERE c.id > %(bound)s::uuid AND (n.id IS NULL OR c.id < n.id)
            AND (c.operation <> 'CREATE' OR r.id IS NULL)
        UNION ALL
        SELECT c.primary_key, c.id, NULL, NULL
        FROM next_emptied n CROSS JOIN touched c LEFT JOIN arrived r ON r.id = c.id
        WHERE c.id > %(bound)s::uuid AND (n.id IS NULL OR c.id < n.id) AND c.previous_primary_key IS NOT NULL
            AND r.id IS NULL
    ) entries ORDER BY key COLLATE "C", id
)
SELECT key, image::text, coalesce(unavailable, '[]')::text FROM past WHERE image IS NOT NULL
UNION ALL
SELECT l.key, l.image::text, coalesce(l.unavailable, '[]')::text FROM later l
WHERE l.image IS NOT NULL AND NOT EXISTS (SELECT FROM past p WHERE p.key = l.key)
"""
_FIRST = "00000000-0000-0000-0000-000000000000"


class LoggedFacts(NamedTuple):
    """What the log says about a table up to a moment.

    Attributes:
        has_rows: It has changes of rows.
        was_emptied: The table was truncated, so that all rows since then are known.
        skipped: The number of changes that were excluded from the log.
        gaps: The number of gaps.
        is_keyless: There are changes of rows without a key.
        removed: When the last change was committed that was removed from the log; None if none was.
    """

    has_rows: bool
    was_emptied: bool
    skipped: int
    gaps: int
    is_keyless: bool
    removed: str | None


class LoggedTable:
    """A table in the log.

    Args:
        destination: A connection to the log, in autocommit.
        slot: The slot of the worker.
        database: The name of the source.
        schema: The schema of the table.
        name: The name of the table; of a partitioned one, that of its root.
    """

    def __init__(self, destination: Any, slot: str, database: str, schema: str, name: str) -> None:
        self._destination = destination
        self._slot = slot
        self._of = {"database": database, "schema": schema, "table": name}

    def last_truncate(self) -> tuple[str, Any] | None:
        """Return the id and the time of the last TRUNCATE, that of its first partition; or None."""
        found = self._ask(_LAST_TRUNCATE, {})
        return found[0] if found else None

    def before(self, change: str) -> str:
        """Return the greatest id before that of a change."""
        found = self._ask(_BEFORE, {"id": change})
        return str(found[0][0]) if found else _FIRST

    def end(self) -> str:
        """Return the greatest id of the log."""
        return str(self._ask(_END, {"first": _FIRST})[0][0])

    def bound(self, moment: Moment) -> str:
        """Return the greatest id that a change up to a moment has.

        Raises:
            HistoryError: The log has nothing of it, or it is in the future.
        """
        if isinstance(moment, datetime):
            time = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
            if time > timezone.now():
                raise HistoryError(f"{time.isoformat()} is in the future")
            found = self._ask(_OF_TIME, {"time": with_usual_offset(time)})
        elif isinstance(moment, int):
            found = self._ask(_OF_TRANSACTION, {"xid": moment})
        elif isinstance(moment, str):
            found = self._ask(_OF_LSN, {"slot": self._slot, "lsn": moment})
        else:
            found = self._ask(_OF_CHANGE, {"id": str(moment.pk)})
        if not found or found[0][0] is None:
            raise HistoryError("the log has no changes up to this moment")
        return str(found[0][0])

    def facts(self, bound: str) -> LoggedFacts:
        """Return what the log says up to the id ``bound``."""
        return LoggedFacts(*self._ask(_FACTS, {"bound": bound})[0])

    def rows(self, bound: str) -> Iterator[tuple[str, str, str]]:
        """Yield (key, row as JSON, columns that are not known as JSON) of the rows at the id ``bound``."""
        with self._destination.cursor() as cursor:
            cursor.execute("BEGIN READ ONLY")
            try:
                yield from stream(self._destination, self._query(_ROWS), {**self._of, "bound": bound})
            finally:
                cursor.execute("ROLLBACK")

    def _ask(self, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._destination.cursor() as cursor:
            cursor.execute(self._query(query), {**self._of, **parameters})
            return list(cursor.fetchall())

    def _query(self, query: str) -> str:
        log = self._destination.log.replace("%", "%%")
        return query.replace("{of_table}", _OF_TABLE.strip()).replace("{log}", log)
