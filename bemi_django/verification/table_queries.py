"""SQL that reads the rows of one table as the log prints them."""

from __future__ import annotations

from psycopg2.sql import SQL, Composable, Identifier, Literal

from bemi_django.verification.compared_table import ComparedTable


def rows_by_key(table: ComparedTable, is_old: Composable) -> Composable:
    """Return a query for (key, row as JSON text, whether the row is old), sorted by key."""
    return SQL(
        'SELECT {0} COLLATE "C", pg_catalog.to_jsonb(t.*)::text, {1} FROM {2} t ORDER BY {0} COLLATE "C"'
    ).format(_key(table), is_old, table.rows)


def rows_by_image(table: ComparedTable, is_old: Composable) -> Composable:
    """Return a query for (row as JSON text, how many there are, how many are not old), sorted by the text."""
    return SQL(
        'SELECT pg_catalog.to_jsonb(t.*)::text COLLATE "C", count(*), count(*) FILTER (WHERE NOT {}) '
        "FROM {} t GROUP BY 1 ORDER BY 1"
    ).format(is_old, table.rows)


def is_older_than_log(table: ComparedTable, start_xid: int) -> Composable:
    """Return a condition: the row was there before the table was tracked, or before the slot was made."""
    since = SQL(
        "greatest({}::bigint, "
        "(SELECT min(since_xid::text::bigint) FROM _bemi.relations WHERE relation = {}::oid))"
    ).format(Literal(start_xid), Literal(table.oid))
    return SQL("pg_catalog.age(t.xmin) > pg_catalog.age({}::text::xid8::xid)").format(since)


def as_defined_now(table: ComparedTable) -> Composable:
    """Return a query that converts its parameter, a row as JSON text, to the table's present types."""
    return SQL(
        "SELECT pg_catalog.to_jsonb(pg_catalog.jsonb_populate_record(NULL::{}, %s::jsonb))::text"
    ).format(Identifier(table.schema, table.name))


def _key(table: ComparedTable) -> Composable:
    # format() prints as the stream does, which a cast to text does not for every type.
    if len(table.key) == 1:
        return SQL("pg_catalog.format('%s', t.{})").format(Identifier(table.key[0]))
    parts = SQL(", ', ', ").join(
        SQL("coalesce(pg_catalog.to_jsonb(t.{})::text, 'null')").format(Identifier(column))
        for column in table.key
    )
    return SQL("pg_catalog.concat('[', {}, ']')").format(parts)
