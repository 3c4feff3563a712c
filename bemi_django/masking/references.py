"""Columns that hold the values of masked ones: they refer to these, or are generated from them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from bemi_django.masking import flat_types
from bemi_django.masking.rules import Name, Rules

#: The columns of foreign keys of tables, and those that are generated, or without oids of all tables, each
#: with every column whose values it has, also by way of others: the schema, table and column; if it is
#: generated, the names of the table and of its root; then the names of the other table, and of its root, and
#: the other column and the oid of its type. (Until PostgreSQL 14, a column depends on others; then its
#: expression does.)
REFERENCES = """
WITH RECURSIVE pairs (relation, number, target, target_number) AS NOT MATERIALIZED (
    SELECT k.conrelid, pair.number, k.confrelid, pair.target
    FROM pg_catalog.pg_constraint k CROSS JOIN LATERAL
        ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) pair (number, target)
    WHERE k.contype = 'f'
    UNION ALL
    SELECT e.adrelid, e.adnum, d.refobjid, d.refobjsubid::pg_catalog.int2
    FROM pg_catalog.pg_attrdef e
    JOIN pg_catalog.pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum AND a.attgenerated <> ''
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.refobjid = e.adrelid AND d.refobjsubid > 0 AND d.refobjsubid <> e.adnum
        AND (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = e.oid
            OR d.classid = d.refclassid AND d.objid = e.adrelid AND d.objsubid = e.adnum)
), refers (relation, number, target, target_number) AS (
    SELECT p.relation, p.number, p.target, p.target_number
    FROM pairs p WHERE p.relation = ANY (coalesce(%s::pg_catalog.oid[], ARRAY[p.relation]))
    UNION
    SELECT r.relation, r.number, p.target, p.target_number
    FROM refers r JOIN pairs p ON p.relation = r.target AND p.number = r.target_number)
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text,
       CASE WHEN a.attgenerated <> '' THEN ARRAY(
           SELECT ARRAY[sn.nspname, s.relname]::pg_catalog.text[]
           FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
           WHERE s.oid IN (c.oid, pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid)) END,
       tn.nspname::pg_catalog.text, t.relname::pg_catalog.text,
       rn.nspname::pg_catalog.text, root.relname::pg_catalog.text, ta.attname::pg_catalog.text,
       {oid}
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
""".replace("{oid}", flat_types.OID.format("ta.atttypid"))

_KEY = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text,
       {oid}
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisprimary ORDER BY a.attnum
""".replace("{oid}", flat_types.OID.format("a.atttypid"))

# The catalog prints literals with doubled quotes. Types and functions are no columns.
_NAME_IN_EXPRESSION = re.compile(r"""'[^']*'|::\w+|"(?P<quoted>(?:[^"]|"")+)"|\b(?P<plain>\w+)\b(?!\()""")


def masked_key(cursor: Any, oid: int, root: Sequence[str], rules: Rules) -> list[str]:
    """Return the columns of a table's primary key that are masked.

    Args:
        cursor: A cursor of the source.
        oid: The table.
        root: The schema and the name under which its rows are recorded.
        rules: The rules.
    """
    cursor.execute(REFERENCES, [[oid]])
    refer = {column for *_, column in referring(rules, cursor.fetchall())}
    cursor.execute(_KEY, [oid])
    return [
        column
        for schema, table, column, type_oid in cursor.fetchall()
        if column in refer or rules.is_masked([(schema, table), (root[0], root[1])], column, type_oid)
    ]


def referring(rules: Rules, rows: Iterable[tuple[Any, ...]]) -> set[tuple[str, str, str]]:
    """Return the columns that refer to masked ones, or are generated from them, with schema and table.

    Args:
        rules: The rules.
        rows: The rows of :data:`REFERENCES`.
    """
    return {
        (schema, table, column)
        for schema, table, column, generated, *names, target, type_oid in rows
        if rules.is_masked([(names[0], names[1]), (names[2], names[3])], target, type_oid)
        and not (generated and _has_rule(rules, generated, column))
    }


def generated(
    rules: Rules,
    names: Collection[Name],
    columns: Mapping[str, int],
    expressions: Mapping[str, str],
    referring: Collection[str],
) -> set[str]:
    """Return the generated columns whose expressions name masked columns, or ones that refer to these.

    Args:
        rules: The rules.
        names: The names of the table.
        columns: Its columns, with the oids of their types.
        expressions: The expression of each generated column.
        referring: The columns that refer to masked ones.
    """
    found = {column: names_in(expression) & columns.keys() for column, expression in expressions.items()}
    return {
        column
        for column, sources in found.items()
        if any(source in referring or rules.is_masked(names, source, columns[source]) for source in sources)
        and not _has_rule(rules, names, column)
    }


def names_in(expression: str) -> set[str]:
    """Return the names in an expression that may be those of columns."""
    return {
        (each["plain"] or "").lower() or (each["quoted"] or "").replace('""', '"')
        for each in _NAME_IN_EXPRESSION.finditer(expression)
    }


def _has_rule(rules: Rules, names: Iterable[Sequence[str]], column: str) -> bool:
    """Return whether a generated column has a rule of its own, which may be stricter.

    One for what is under some key does not say what the others have.
    """
    own = [(schema, table) for schema, table in names]
    return rules.is_masked_whole(own, column) or rules.is_kept(own, column)
