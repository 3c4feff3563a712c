"""The columns of the primary keys of tables, also of those without a model."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from django.db import DatabaseError, connections

from bemi_django.exceptions import UnknownDatabase
from bemi_django.log.places import Place, alias_of

_KEY_COLUMNS = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       pg_catalog.array_agg(a.attname::pg_catalog.text)
FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.name[]), pg_catalog.unnest(%s::pg_catalog.name[]))
    wanted (schema, name)
JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) wanted.schema
JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
    AND c.relname OPERATOR(pg_catalog.=) wanted.name
JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisprimary
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
    AND a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey::pg_catalog.int2[])
GROUP BY 1, 2
"""


def key_columns(places: Iterable[Place]) -> dict[Place, list[str]]:
    """Return the columns of tables' primary keys, with one query for each database.

    Tables that are not there, or that have no primary key, are left out.
    """
    by_database: dict[str, list[Place]] = {}
    for place in places:
        by_database.setdefault(place.database, []).append(place)
    found: dict[Place, list[str]] = {}
    for database, tables in by_database.items():
        with suppress(UnknownDatabase, DatabaseError), connections[alias_of(database)].cursor() as cursor:
            names = [place.schema for place in tables], [place.table for place in tables]
            cursor.execute(_KEY_COLUMNS, names)
            for schema, table, columns in cursor.fetchall():
                found[Place(database, schema, table)] = columns
    return found
