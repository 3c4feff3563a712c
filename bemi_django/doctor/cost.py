"""What recording costs: an estimate from what the server has counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bemi_django.schema.search_path import closed_cursor

# The statistics of partitions count for their root. Without ANALYZE, a row is as wide as its storage.
_WRITES = """
SELECT given.name,
       sum(s.n_tup_ins) / since.days, sum(s.n_tup_upd) / since.days, sum(s.n_tup_del) / since.days,
       max(coalesce(width.average,
                    pg_table_size(c.oid) / nullif(greatest(c.reltuples, s.n_live_tup), 0), 100))
FROM unnest(%s::text[]) given (name)
JOIN pg_class root ON root.relkind IN ('r', 'p')
JOIN pg_namespace home
    ON home.oid = root.relnamespace AND concat(home.nspname, '.', root.relname) = given.name
LEFT JOIN LATERAL pg_partition_tree(root.oid) part ON true
JOIN pg_class c ON c.oid = coalesce(part.relid, root.oid)
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stat_user_tables s ON s.relid = c.oid
CROSS JOIN LATERAL (
    SELECT sum(p.avg_width * (1 - p.null_frac)) AS average FROM pg_stats p
    WHERE p.schemaname = n.nspname AND p.tablename = c.relname) width
CROSS JOIN (
    SELECT greatest(extract(epoch FROM clock_timestamp() - coalesce(
        d.stats_reset, b.stats_reset, pg_postmaster_start_time())) / 86400, 1.0 / 24)::float8 AS days
    FROM pg_stat_database d, pg_stat_bgwriter b WHERE d.datname = current_database()) since
GROUP BY given.name, since.days
ORDER BY 1
"""
# Bytes (docs/measurements.md) of a statement's message in the WAL, of a change without its values, and of its
# indexes; and how much wider values are as text than in their table.
_MESSAGE, _CHANGE, _INDEXES, _AS_TEXT = 330, 500, 270, 2


class TableCost(NamedTuple):
    """What recording a table costs a day, on average.

    Attributes:
        name: ``schema.table``.
        writes: Number of rows that are written.
        wal_bytes: Bytes of WAL in addition to those of the table; at most, because the rows of a statement
            share its context.
        log_bytes: Bytes by which the log grows, with its indexes.
    """

    name: str
    writes: int
    wal_bytes: int
    log_bytes: int


def estimate(source: str, tracked: Sequence[str]) -> list[TableCost]:
    """Return what recording tables costs, beginning with the one that costs most.

    Args:
        source: Alias of the source.
        tracked: Names of tables, ``schema.table``.
    """
    with closed_cursor(source) as cursor:
        cursor.execute(_WRITES, [list(tracked)])
        found = [_of(name, *map(float, numbers)) for name, *numbers in cursor.fetchall()]
    return sorted(found, key=lambda cost: (-cost.log_bytes, cost.name))


def _of(name: str, inserts: float, updates: float, deletes: float, width: float) -> TableCost:
    writes = inserts + updates + deletes
    wal = writes * _MESSAGE + (updates + deletes) * width
    log = writes * (_CHANGE + _INDEXES) + (inserts + 2 * updates + deletes) * width * _AS_TEXT
    return TableCost(name, round(writes), round(wal), round(log))
