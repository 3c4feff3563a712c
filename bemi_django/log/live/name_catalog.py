"""What the database that has the tables knows of the names of their columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connections, models

from bemi_django.log.live.column_names import ColumnNames, Layout
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.log.places import Place, alias_of, renamed_columns

_WILDCARDS = re.compile(r"[*?\[]")
# Asked of the catalog: a name in a schema that the role may not use is an error.
_MAY_READ = """
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE'::pg_catalog.text)
    AND pg_catalog.has_table_privilege(c.oid, 'SELECT'::pg_catalog.text)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE n.nspname OPERATOR(pg_catalog.=) '_bemi'::pg_catalog.name
    AND c.relname OPERATOR(pg_catalog.=) 'past'::pg_catalog.name
"""
_LAYOUTS = """
SELECT k.schema, k.name, k.layouts::pg_catalog.text,
    (SELECT s.system_identifier FROM pg_catalog.pg_control_system() s)
FROM ROWS FROM (
    pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[])) wanted (schema, name)
JOIN _bemi.past k ON k.schema OPERATOR(pg_catalog.=) wanted.schema
    AND k.name OPERATOR(pg_catalog.=) wanted.name
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.relation
    AND c.relname::pg_catalog.text OPERATOR(pg_catalog.=) k.name
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) k.schema
"""
# The first layout of a table has all names.
_ALTERED = """
SELECT k.schema, k.name FROM _bemi.past k
WHERE pg_catalog.jsonb_array_length(k.layouts) OPERATOR(pg_catalog.>) 1 AND EXISTS (
    SELECT FROM pg_catalog.unnest(%s::pg_catalog.text[]) wanted (name)
    WHERE pg_catalog.strpos(k.layouts::pg_catalog.text, wanted.name) OPERATOR(pg_catalog.>) 0)
"""


def read_names(
    cursor: Any, tables: Mapping[tuple[str, str], Mapping[str, str]]
) -> dict[tuple[str, str], ColumnNames]:
    """Return the names of the columns of tables. Nothing but those given is known if the log is elsewhere.

    Args:
        cursor: A cursor of the database that has the tables.
        tables: Renamed columns by the settings and the model, ``{old: new}``, by schema and name of the
            tables.
    """
    found = {name: ColumnNames(declared) for name, declared in tables.items()}
    if not _may_read(cursor):
        return found
    cursor.execute(_LAYOUTS, [[schema for schema, _ in tables], [name for _, name in tables]])
    for schema, name, layouts, here in cursor.fetchall():
        found[schema, name] = ColumnNames(tables[schema, name], _layouts(loads(layouts)), str(here))
    return found


def altered_tables(cursor: Any, columns: Iterable[str]) -> list[tuple[str, str]]:
    """Return the altered tables, by schema and name, that have, or have had, one of some columns.

    Args:
        cursor: A cursor of the database that has the tables.
        columns: What names of columns end with. What has wildcards stands for any name.
    """
    if not _may_read(cursor):
        return []
    ends = ["" if _WILDCARDS.search(name) else dumps(name)[1:] for name in columns]
    cursor.execute(_ALTERED, [ends])
    return list(cursor.fetchall())


def names_at(tables: Mapping[Place, type[models.Model] | None], alias: str) -> dict[Place, ColumnNames]:
    """Return what the columns of tables are called now in each of their changes.

    Args:
        tables: The tables, and the models that they have.
        alias: Alias of the database that has the tables.
    """
    declared = {place: renamed_columns(place, model) for place, model in tables.items()}
    if not declared or connections[alias].vendor != "postgresql":
        return {place: ColumnNames(given) for place, given in declared.items()}
    with connections[alias].cursor() as cursor:
        found = read_names(cursor, {place[1:]: given for place, given in declared.items()})
    return {place: found[place[1:]] for place in tables}


def column_names(place: Place, model: type[models.Model] | None) -> ColumnNames:
    """Return what the columns of a table are called now in each of its changes.

    Raises:
        UnknownDatabase: No entry of ``DATABASES`` has the table.
    """
    return names_at({place: model}, alias_of(place.database))[place]


def _may_read(cursor: Any) -> bool:
    cursor.execute(_MAY_READ)
    return bool(cursor.fetchone() == (True,))


def _layouts(stored: list[Any]) -> list[Layout]:
    names: dict[str, str] = {}
    layouts = []
    for position, transaction, system, is_noticed, altered in stored:
        names = {number: name for number, name in {**names, **altered}.items() if name is not None}
        layouts.append(Layout(position, transaction, str(system), is_noticed, names))
    return layouts
