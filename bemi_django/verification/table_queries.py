"""SQL that reads the rows of one table as the log prints them."""

from __future__ import annotations

from psycopg2.sql import SQL, Composable, Identifier, Literal

from bemi_django.verification.compared_table import ComparedTable


def rows_by_key(table: ComparedTable, is_old: Composable) -> Composable:
    """Return a query for (key, row as JSON text, whether the row is old), sorted by key."""
    return SQL(
        'SELECT {0} COLLATE "C", pg_catalog.to_jsonb(_bemi_row.*)::text, {1} '
        'FROM {2} _bemi_row ORDER BY {0} COLLATE "C"'
    ).format(_key(table), is_old, table.rows)


def rows_by_image(table: ComparedTable, is_old: Composable) -> Composable:
    """Return a query for (row as JSON text, how many there are, how many are not old), sorted by the text."""
    return SQL(
        'SELECT pg_catalog.to_jsonb(_bemi_row.*)::text COLLATE "C", count(*), count(*) FILTER (WHERE NOT {}) '
        "FROM {} _bemi_row GROUP BY 1 ORDER BY 1"
    ).format(is_old, table.rows)


def is_older_than_log(table: ComparedTable, start_xid: int) -> Composable:
    """Return a condition: the row was there before the table was tracked, or before the slot was made."""
    since = SQL(
        "greatest({}::bigint, "
        "(SELECT min(since_xid::text::bigint) FROM _bemi.relations WHERE relation = {}::oid))"
    ).format(Literal(start_xid), Literal(table.oid))
    return SQL("pg_catalog.age(_bemi_row.xmin) > pg_catalog.age({}::text::xid8::xid)").format(since)


def differing_columns(table: ComparedTable) -> Composable:
    """Return a query for (columns whose values differ) of each pair of rows, in order.

    Its parameters are arrays of JSON text: the rows of the log, which are read with the table's present
    types, and those of the table. Columns that only one of them has are not compared.
    """
    return SQL("""
        SELECT ARRAY(
            SELECT name FROM pg_catalog.jsonb_object_keys(logged) name
            WHERE pg_catalog.jsonb_exists(found, name) AND pg_catalog.textne(
                pg_catalog.jsonb_object_field(converted, name)::text,
                pg_catalog.jsonb_object_field(found, name)::text))
        FROM (
            SELECT logged, found, n,
                   pg_catalog.to_jsonb(pg_catalog.jsonb_populate_record(NULL::{}, logged)) AS converted
            FROM unnest(%s::jsonb[], %s::jsonb[]) WITH ORDINALITY pair (logged, found, n)
        ) read ORDER BY n
    """).format(Identifier(table.schema, table.name))


def _key(table: ComparedTable) -> Composable:
    # format() prints as the stream does, which a cast to text does not for every type.
    if len(table.key) == 1:
        return SQL("pg_catalog.format('%s', _bemi_row.{})").format(Identifier(table.key[0]))
    parts = SQL(", ', ', ").join(
        SQL("coalesce(pg_catalog.to_jsonb(_bemi_row.{})::text, 'null')").format(Identifier(column))
        for column in table.key
    )
    return SQL("pg_catalog.concat('[', {}, ']')").format(parts)
