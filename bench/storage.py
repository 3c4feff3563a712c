"""How many bytes a change takes, and what other ways to store it would save."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2

from bemi_django.schema import sql
from bench import servers
from bench.filling import fill
from bench.report import Findings, Table
from bench.servers import connect, execute, one

_SELECT = """
SELECT id, database, schema, "table", primary_key, operation, {before} AS before, after, {context} AS context,
       committed_at, queued_at, created_at, transaction_id, position
FROM changes
"""
_DIFFERENT = """
(SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(before) b
 WHERE b.value IS DISTINCT FROM after -> b.key)
"""
_LARGEST = """
SELECT inhrelid FROM pg_inherits WHERE inhparent = 'changes'::regclass
ORDER BY pg_relation_size(inhrelid) DESC LIMIT 1
"""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid), pg_relation_size(indexrelid) FROM pg_index
WHERE indrelid = %s ORDER BY 2 DESC
"""
_TEXTS = """
WITH began AS MATERIALIZED (SELECT clock_timestamp() AS at),
     done AS (INSERT INTO way SELECT jsonb_build_object('body', body), jsonb_build_object('body', body)
              FROM began, generate_series(1, %s) n CROSS JOIN LATERAL (
                  SELECT string_agg((ARRAY['the', 'order', 'of', 'customer', 'was', 'changed', 'now', 'an'])
                                    [1 + (hashint4(i * 31 + n) & 7)], ' ') AS body
                  FROM generate_series(1, 1600) i) texts
              RETURNING 1)
SELECT extract(epoch FROM clock_timestamp() - (SELECT at FROM began))::float8
FROM (SELECT count(*) FROM done) counted
"""


def run(is_quick: bool, is_long: bool = False) -> Findings:
    count = 20_000 if is_quick else 200_000
    findings = Findings("Storage")
    with servers.server() as server:
        servers.create_database(server, "log")
        with closing(connect(server, "log")) as connection:
            execute(connection, sql.up("schema_v1", "histories_v1", "changes_v1", "activity_v1", "seals_v1"))
            fill(connection, 1, count)
            findings.tables += [
                _parts(connection, count),
                _ways(connection, count),
                _compressions(connection, count // 100),
            ]
    findings.unfair.append(
        "All rows are of one kind: an UPDATE of one column of seven, with its SQL in the context."
    )
    return findings


def _parts(connection: Any, count: int) -> Table:
    table = Table(f"Bytes a change of {count:,}", ["what", "bytes", "share"])
    month = one(connection, _LARGEST)
    whole = one(connection, "SELECT pg_total_relation_size(%s::oid)", [month])
    heap = one(connection, "SELECT pg_table_size(%s::oid)", [month])
    table.add("table", f"{heap / count:.0f}", f"{heap / whole:.0%}")
    for name, size in execute(connection, _INDEXES, [month]):
        table.add("index " + name.split(" USING ")[1], f"{size / count:.1f}", f"{size / whole:.0%}")
    table.add("all", f"{whole / count:.0f}", "100%")
    return table


def _ways(connection: Any, count: int) -> Table:
    """Store the same rows in each way, without indexes."""
    table = Table("Other ways to store them, without indexes", ["way", "bytes a change", "of now"])
    ways = {
        "as it is": _SELECT.format(before="before", context="context"),
        "before holds only what changed": _SELECT.format(before=_DIFFERENT, context="context"),
        "context by reference, each one once": _SELECT.format(before="before", context="id"),
        "context without the SQL": _SELECT.format(before="before", context="context - 'SQL'"),
    }
    base = 0.0
    for name, query in ways.items():
        execute(connection, f"CREATE TABLE way AS {query}")
        size = one(connection, "SELECT pg_table_size('way')")
        execute(connection, "DROP TABLE way")
        if "reference" in name:
            execute(
                connection,
                "CREATE TABLE way AS SELECT DISTINCT ON (context) id AS context_id, context FROM changes",
            )
            size += one(connection, "SELECT pg_table_size('way')")
            execute(connection, "DROP TABLE way")
        base = base or size
        table.add(name, f"{size / count:.0f}", f"{size / base:.2f}")
    return table


def _compressions(connection: Any, count: int) -> Table:
    """Compare the methods on rows of more than 2 kB, as PostgreSQL compresses no others."""
    table = Table(
        "Compression, of rows with a body of 8 kB of words", ["method", "bytes a change", "seconds to write"]
    )
    for method in ("pglz", "lz4"):
        try:
            execute(
                connection,
                f"CREATE TABLE way (before jsonb COMPRESSION {method}, after jsonb COMPRESSION {method})",
            )
        except psycopg2.Error:
            table.add(method, "not built in", "")
            continue
        taken = one(connection, _TEXTS, [count])
        size = one(connection, "SELECT pg_total_relation_size('way')")
        table.add(method, f"{size / count:.0f}", f"{taken:.2f}")
        execute(connection, "DROP TABLE way")
    return table
