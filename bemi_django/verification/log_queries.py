"""SQL that reads what the log says of one table, as of a snapshot of the source.

``{log}`` stands for the table of the log.
All queries take the parameters ``database``, ``schema``, ``table``, ``snapshot`` and ``earlier``:
the last id of earlier servers, whose transaction ids mean nothing in the snapshot.
"""

from __future__ import annotations

_OF_TABLE = """c.database = %(database)s AND c.schema = %(schema)s AND c."table" = %(table)s
      AND NOT c.diverged
      AND (c.id <= %(earlier)s
           OR pg_visible_in_snapshot(c.transaction_id::text::xid8, %(snapshot)s::pg_snapshot))"""
# A row whose table was truncated later is gone.
_TRUNCATED = """
WITH truncated AS MATERIALIZED (
    SELECT DISTINCT ON (c.partition) c.partition, c.id FROM {log} c
    WHERE {of_table} AND c.operation = 'TRUNCATE' ORDER BY c.partition, c.id DESC
)
""".replace("{of_table}", _OF_TABLE)
_ALIVE = """
    FROM {log} c LEFT JOIN truncated t ON t.partition IS NOT DISTINCT FROM c.partition
    WHERE {of_table} AND (t.id IS NULL OR t.id < c.id) AND c.operation IN ('CREATE', 'UPDATE', 'DELETE')
""".replace("{of_table}", _OF_TABLE)

#: (key, row as JSON text or NULL if it was deleted), sorted by key: each key's last entry.
LAST_BY_KEY = (
    _TRUNCATED
    + """
SELECT DISTINCT ON (key COLLATE "C") key, state FROM (
    SELECT c.primary_key AS key, c.id, CASE WHEN c.operation <> 'DELETE' THEN c.after::text END AS state
    {alive}
    UNION ALL
    SELECT c.previous_primary_key, c.id, NULL {alive} AND c.previous_primary_key IS NOT NULL
) entries WHERE key IS NOT NULL ORDER BY key COLLATE "C", id DESC
"""
).replace("{alive}", _ALIVE)

#: (row before, row after) of each change of the parameter ``key``, in commit order.
HISTORY_OF_KEY = (
    _TRUNCATED
    + """
SELECT CASE WHEN c.operation <> 'CREATE' AND coalesce(c.previous_primary_key, c.primary_key) = %(key)s
            THEN c.before::text END,
       CASE WHEN c.operation <> 'DELETE' AND c.primary_key = %(key)s THEN c.after::text END
{alive} AND %(key)s IN (c.primary_key, c.previous_primary_key) ORDER BY c.id
"""
).replace("{alive}", _ALIVE)

#: (row as JSON text, how many of it are left, how many there ever were), sorted by the text.
COUNTED_BY_IMAGE = (
    _TRUNCATED
    + """
SELECT image COLLATE "C", sum(weight)::bigint, sum(weight) FILTER (WHERE weight > 0)::bigint FROM (
    SELECT c.after::text AS image, 1 AS weight {alive} AND c.operation <> 'DELETE'
    UNION ALL
    SELECT c.before::text, -1 {alive} AND c.operation <> 'CREATE'
) images GROUP BY image ORDER BY image COLLATE "C"
"""
).replace("{alive}", _ALIVE)

#: (number of changes that were skipped).
SKIPPED = """
SELECT coalesce(sum(skipped.number::bigint), 0)::bigint
FROM {log} c CROSS JOIN LATERAL jsonb_each_text(c.context -> 'rows') skipped (operation, number)
WHERE {of_table} AND c.operation = 'SKIPPED'
""".replace("{of_table}", _OF_TABLE)
