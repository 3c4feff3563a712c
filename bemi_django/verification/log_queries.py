"""SQL that reads what the log says of one table.

``{log}`` stands for the table of the log and ``{of_table}`` for a condition of :func:`of_table`, whose
parameters all queries take. ``snapshot`` is a snapshot of the source that must show a change, or NULL for
the log as it is; ``earlier`` is the last id of earlier servers, whose transaction ids mean nothing in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

_OF_TABLE = """c.database = %(database)s AND ({names}) AND NOT c.diverged
      AND (%(snapshot)s::pg_snapshot IS NULL OR c.id <= %(earlier)s
           OR pg_visible_in_snapshot(c.transaction_id::text::xid8, %(snapshot)s::pg_snapshot))"""
# A row whose table was truncated later is gone.
_TRUNCATED = """
WITH truncated AS MATERIALIZED (
    SELECT DISTINCT ON (c.partition) c.partition, c.id FROM {log} c
    WHERE {of_table} AND c.operation = 'TRUNCATE' AND c.primary_key IS NULL ORDER BY c.partition, c.id DESC
)
"""
_ALIVE = """
    FROM {log} c LEFT JOIN truncated t ON t.partition IS NOT DISTINCT FROM c.partition
    WHERE {of_table} AND (t.id IS NULL OR t.id < c.id)
        AND c.operation IN ('CREATE', 'UPDATE', 'DELETE', 'BASELINE')
"""
_IS_THERE = """(c.partition IS NULL OR EXISTS (
        SELECT FROM unnest(%(partitions)s::text[], %(bounds)s::uuid[]) leaf (name, bound)
        WHERE leaf.name = c.partition
            AND (leaf.bound IS NULL OR c.id > leaf.bound OR c.id <= %(earlier)s::uuid)))"""
_IS_OWN = "(c.transaction_id <> ALL (%(reused)s::bigint[]) OR c.id <= %(earlier)s::uuid)"
# What was erased is not compared.
_AFTER, _BEFORE = (
    f"CASE WHEN c.unavailable ? 'erased' THEN c.{side} - ARRAY("
    f"SELECT jsonb_array_elements_text(c.unavailable -> 'erased')) ELSE c.{side} END"
    for side in ("after", "before")
)
_DIGEST = "sha256(convert_to({}, 'UTF8'))"

#: The keys after the parameter ``after``, up to ``limit``, in the order of the log's index.
KEYS = """
SELECT DISTINCT c.primary_key FROM {log} c
WHERE {of_table} AND c.primary_key IS NOT NULL AND c.operation NOT IN ('EVENT', 'ERASED')
    AND (%(after)s IS NULL OR c.primary_key > %(after)s)
    AND (%(slices)s = 1
         OR (hashtextextended(c.primary_key COLLATE "C", 0) & 9223372036854775807) %% %(slices)s
            = %(slice)s)
ORDER BY c.primary_key LIMIT %(limit)s
"""

#: (key, id, transaction id, schema, table, partition, image, digest of the image, its length) of the last
#: change of each of ``keys``; no image if the row was deleted. The image is NULL unless ``is_whole``.
LAST_BY_KEY = """{truncated}
SELECT key, id::text, transaction_id, schema, "table", partition,
       CASE WHEN %(is_whole)s THEN image::text END, {digest}, length(image::text)
FROM (
    SELECT DISTINCT ON (key COLLATE "C") * FROM (
        SELECT c.primary_key AS key, c.id, c.transaction_id, c.schema, c."table", c.partition,
               CASE WHEN c.operation <> 'DELETE' THEN {after} END AS image
        {alive} AND c.primary_key = ANY (%(keys)s)
        UNION ALL
        SELECT c.previous_primary_key, c.id, c.transaction_id, c.schema, c."table", c.partition, NULL
        {alive} AND c.previous_primary_key = ANY (%(keys)s)
    ) entries ORDER BY key COLLATE "C", id DESC
) last
""".replace("{digest}", _DIGEST.format("image::text")).replace("{after}", _AFTER)

#: (row before, row after) of each change of the parameter ``key``, in commit order.
HISTORY_OF_KEY = """{truncated}
SELECT CASE WHEN c.operation NOT IN ('CREATE', 'BASELINE')
                AND coalesce(c.previous_primary_key, c.primary_key) = %(key)s
            THEN ({before})::text END,
       CASE WHEN c.operation <> 'DELETE' AND c.primary_key = %(key)s THEN ({after})::text END
{alive} AND %(key)s IN (c.primary_key, c.previous_primary_key) ORDER BY c.id
""".replace("{after}", _AFTER).replace("{before}", _BEFORE)

#: (digest of a row, how many of it are left, how many there ever were), sorted. ``ignored`` are columns that
#: are left out; rows of partitions that are gone, and changes of transactions that are ``reused``, are not
#: counted.
COUNTED_BY_IMAGE = (
    (
        """{truncated}
SELECT {digest}, sum(weight)::bigint, sum(weight) FILTER (WHERE weight > 0)::bigint FROM (
    SELECT c.after - %(ignored)s::text[] AS image, 1 AS weight
    {alive} AND {is_there} AND {is_own} AND c.operation <> 'DELETE'
    UNION ALL
    SELECT c.before - %(ignored)s::text[], -1
    {alive} AND {is_there} AND {is_own} AND c.operation NOT IN ('CREATE', 'BASELINE')
) images GROUP BY 1 ORDER BY 1
""".replace("{digest}", f"encode({_DIGEST.format('image::text')}, 'hex') COLLATE \"C\"")
    )
    .replace("{is_there}", _IS_THERE)
    .replace("{is_own}", _IS_OWN)
)

#: (number of changes that were skipped).
SKIPPED = """
SELECT coalesce(sum(skipped.number::bigint), 0)::bigint
FROM {log} c CROSS JOIN LATERAL jsonb_each_text(c.context -> 'rows') skipped (operation, number)
WHERE {of_table} AND c.primary_key IS NULL AND c.operation = 'SKIPPED'
"""


class LoggedName(NamedTuple):
    """A name under which a table was recorded: after the id ``after``, and up to ``until``.

    Either is None without a bound. Changes of the transaction ``until_xid`` may be later than ``until``.
    """

    schema: str
    table: str
    after: str | None
    until: str | None = None
    until_xid: int | None = None


def of_table(names: Sequence[LoggedName]) -> tuple[str, dict[str, Any]]:
    """Return a condition on changes ``c``, and its parameters.

    Args:
        names: The names of the table, the present one last.
    """
    conditions = []
    parameters: dict[str, Any] = {}
    for number, name in enumerate(names):
        condition = f'c.schema = %(schema_{number})s AND c."table" = %(table_{number})s'
        parameters |= {f"schema_{number}": name.schema, f"table_{number}": name.table}
        if name.after is not None:
            condition += f" AND (c.id > %(after_{number})s::uuid OR c.id <= %(earlier)s::uuid)"
            parameters[f"after_{number}"] = name.after
        if name.until is not None:
            condition += (
                f" AND (c.id <= %(until_{number})s::uuid OR c.transaction_id = %(until_xid_{number})s)"
                f" AND c.id > %(earlier)s::uuid"
            )
            parameters |= {f"until_{number}": name.until, f"until_xid_{number}": name.until_xid}
        conditions.append(f"({condition})")
    return _OF_TABLE.replace("{names}", " OR ".join(conditions)), parameters


def on(log: str, query: str, condition: str) -> str:
    """Return a query of this module for a log and a condition of :func:`of_table`."""
    whole = (
        query.replace("{truncated}", _TRUNCATED).replace("{alive}", _ALIVE).replace("{of_table}", condition)
    )
    return whole.replace("{log}", log.replace("%", "%%"))
