"""Prepare the views of the past for columns that are ignored: they can show them as not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bemi_django import selection
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor
from bemi_django.setting_values import patterns
from bemi_django.wire.name_pattern import as_like, has_wildcards

# With the slot '', which no worker has: the settings say so, but nothing may have been left out yet.
_DIFFERENCE = """
WITH wanted AS (
    SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name,
           a.attname::pg_catalog.text AS col
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid NOT IN (SELECT _bemi.ours_v1())
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                        WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))
        AND EXISTS (
            SELECT FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]),
                                   pg_catalog.unnest(%s::pg_catalog.text[]),
                                   pg_catalog.unnest(%s::pg_catalog.text[])) p (schema, name, col)
            WHERE n.nspname LIKE p.schema AND c.relname LIKE p.name AND a.attname LIKE p.col)
)
SELECT w.schema, w.name, w.col, true FROM wanted w
WHERE NOT EXISTS (SELECT FROM _bemi.omitted_columns o
                  WHERE o.slot = '' AND (o.schema, o."table", o."column") = (w.schema, w.name, w.col))
UNION ALL
SELECT o.schema, o."table", o."column", false FROM _bemi.omitted_columns o
WHERE o.slot = '' AND (o.schema, o."table", o."column") NOT IN (SELECT w.schema, w.name, w.col FROM wanted w)
ORDER BY 1, 2, 3
"""
_UNMATCHED_COLUMNS = """
SELECT p.number::pg_catalog.int4
FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[]),
                pg_catalog.unnest(%s::pg_catalog.text[])) WITH ORDINALITY p (schema, name, col, number)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
        AND n.nspname LIKE p.schema AND c.relname LIKE p.name AND a.attname LIKE p.col
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                        WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)))
ORDER BY 1
"""
_UNMATCHED_TABLES = """
SELECT p.number::pg_catalog.int4
FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[]))
    WITH ORDINALITY p (schema, name, number)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname LIKE p.schema AND c.relname LIKE p.name)
ORDER BY 1
"""
# A partition is recorded with its root.
_UNMATCHED_NAMES = """
SELECT p.number::pg_catalog.int4
FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY p (name, number)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND pg_catalog.concat(n.nspname, '.', c.relname) = p.name)
ORDER BY 1
"""
_ADD = """
INSERT INTO _bemi.omitted_columns (slot, schema, "table", "column", last) VALUES ('', %s, %s, %s, 0)
ON CONFLICT DO NOTHING
"""
_REMOVE = """
DELETE FROM _bemi.omitted_columns WHERE slot = '' AND (schema, "table", "column") = (%s, %s, %s)
"""


def sync(using: str, dry_run: bool) -> Iterator[str]:
    """Remember which columns the settings ignore, and yield a line for each that is new or is not any more.

    Args:
        using: The alias of the database; nothing happens unless it has views of the past.
        dry_run: Only say what would be done.

    Raises:
        ImproperlyConfigured: A setting is wrong.
    """
    ignored = selection.ignored_columns()
    parts = [[as_like(pattern[number]) for pattern in ignored] for number in range(3)]
    with closed_cursor(using) as cursor:
        if not installed.has(cursor, "past_refresh_v1"):
            return
        cursor.execute(_DIFFERENCE, parts)
        found = cursor.fetchall()
        for *name, is_ignored in found:
            if not dry_run:
                cursor.execute(_ADD if is_ignored else _REMOVE, name)
    for *name, is_ignored in found:
        yield f"{'ignored' if is_ignored else 'no longer ignored'}: {'.'.join(name)}"


def unmatched_columns(using: str) -> list[str]:
    """Return the patterns of ``BEMI_IGNORE_COLUMNS`` that match no column that can be ignored.

    What models declare is left out: it names their fields, which exist or will when ``migrate`` was run.

    Raises:
        ImproperlyConfigured: A setting is wrong.
        NotInstalled: ``migrate`` was not run.
    """
    return _unmatched(using, _UNMATCHED_COLUMNS, list(selection.configured_columns()))


def unmatched_tables(using: str) -> list[str]:
    """Return the patterns of ``BEMI_CONDITIONS`` that match no table.

    Raises:
        ImproperlyConfigured: A setting is wrong.
        NotInstalled: ``migrate`` was not run.
    """
    return _unmatched(
        using, _UNMATCHED_TABLES, [pattern for pattern, *_ in selection.configured_conditions()]
    )


def unmatched_excluded(using: str) -> list[str]:
    """Return the names without wildcards of ``BEMI_EXCLUDE`` that are of no table.

    Raises:
        ImproperlyConfigured: A setting is wrong.
    """
    names = [name for name in patterns("BEMI_EXCLUDE") if not has_wildcards(name)]
    with closed_cursor(using) as cursor:
        cursor.execute(_UNMATCHED_NAMES, [names])
        return [names[number - 1] for (number,) in cursor.fetchall()]


def _unmatched(using: str, query: str, chosen: Sequence[tuple[str, ...]]) -> list[str]:
    if not chosen:
        return []
    with closed_cursor(using) as cursor:
        installed.require(cursor, "plan_v1")
        cursor.execute(query, [[as_like(part) for part in parts] for parts in zip(*chosen, strict=True)])
        return [".".join(chosen[number - 1]) for (number,) in cursor.fetchall()]
