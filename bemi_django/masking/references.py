"""Columns that refer to masked ones: they hold the same values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bemi_django.masking.rules import Rules

#: The columns of foreign keys of a table, or without an oid of all tables, each with every column that it
#: refers to, also by way of others: the schema, table and column, then those names and those of the root.
REFERENCES = """
WITH RECURSIVE refers (relation, number, target, target_number) AS (
    SELECT k.conrelid, pair.number, k.confrelid, pair.target
    FROM pg_catalog.pg_constraint k CROSS JOIN LATERAL
        ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) pair (number, target)
    WHERE k.contype = 'f' AND k.conrelid = coalesce(%s::pg_catalog.oid, k.conrelid)
    UNION
    SELECT r.relation, r.number, k.confrelid, pair.target
    FROM refers r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.target AND k.contype = 'f'
    CROSS JOIN LATERAL
        ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) pair (number, target)
    WHERE pair.number = r.target_number)
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text,
       tn.nspname::pg_catalog.text, t.relname::pg_catalog.text,
       rn.nspname::pg_catalog.text, root.relname::pg_catalog.text, ta.attname::pg_catalog.text
FROM refers r
JOIN pg_catalog.pg_class c ON c.oid = r.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = r.relation AND a.attnum = r.number
JOIN pg_catalog.pg_class t ON t.oid = r.target
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_class root
    ON root.oid = coalesce(pg_catalog.pg_partition_root(t.oid)::pg_catalog.oid, t.oid)
JOIN pg_catalog.pg_namespace rn ON rn.oid = root.relnamespace
JOIN pg_catalog.pg_attribute ta ON ta.attrelid = r.target AND ta.attnum = r.target_number
"""

_KEY = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisprimary ORDER BY a.attnum
"""


def masked_key(cursor: Any, oid: int, root: Sequence[str], rules: Rules) -> list[str]:
    """Return the columns of a table's primary key that are masked.

    Args:
        cursor: A cursor of the source.
        oid: The table.
        root: The schema and the name under which its rows are recorded.
        rules: The rules.
    """
    cursor.execute(REFERENCES, [oid])
    refer = {column for *_, column in referring(rules, cursor.fetchall())}
    cursor.execute(_KEY, [oid])
    return [
        column
        for schema, table, column in cursor.fetchall()
        if column in refer or rules.is_masked([(schema, table), (root[0], root[1])], column)
    ]


def referring(rules: Rules, rows: Iterable[tuple[Any, ...]]) -> set[tuple[str, str, str]]:
    """Return the columns that refer to masked ones, each with its schema and table.

    Args:
        rules: The rules.
        rows: The rows of :data:`REFERENCES`.
    """
    return {
        (schema, table, column)
        for schema, table, column, *names, target in rows
        if rules.is_masked([(names[0], names[1]), (names[2], names[3])], target)
    }
