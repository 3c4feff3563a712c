"""The columns of the primary keys of tables, also of those without a model."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from django.db import DatabaseError, connections

from bemi_django.exceptions import UnknownDatabase
from bemi_django.log.places import Place, alias_of

_KEY_COLUMNS = """
SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text)
FROM ROWS FROM (unnest(%s::name[]), unnest(%s::name[])) wanted (schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
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
