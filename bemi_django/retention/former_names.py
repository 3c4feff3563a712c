"""The names that tables had before, under which the log has their earlier changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

# Of versions of which rows were recorded under the name of a root, the root has the rule.
_FORMER = """
WITH versions AS (
    SELECT k.relation, k.since, k.description -> 'name' ->> 0 AS schema, k.description -> 'name' ->> 1 AS name
    FROM _bemi.relations k WHERE k.description -> 'root' = k.description -> 'name'
        AND k.system = (SELECT s.system_identifier FROM pg_control_system() s)
),
latest AS (SELECT DISTINCT ON (v.relation) v.* FROM versions v ORDER BY v.relation, v.since DESC)
SELECT DISTINCT wanted.schema, wanted.name, v.schema, v.name, EXISTS (
    SELECT FROM versions o WHERE o.relation <> v.relation AND (o.schema, o.name) = (v.schema, v.name))
FROM unnest(%s::text[], %s::text[]) wanted (schema, name)
JOIN latest l ON l.name = wanted.name AND l.schema = coalesce(wanted.schema, l.schema)
JOIN versions v ON v.relation = l.relation AND (v.schema, v.name) <> (l.schema, l.name)
"""
_MAY_READ = """
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname = 'relations'
"""


class FormerName(NamedTuple):
    """A name that a table had before it was renamed or moved to another schema.

    Attributes:
        of_schema: The schema of the table as it was asked for.
        of_table: Its present name.
        schema: The schema that it had.
        table: The name that it had.
        is_shared: Whether another table has, or had, the same name.
    """

    of_schema: str | None
    of_table: str
    schema: str
    table: str
    is_shared: bool


def former_names(cursor: Any, tables: Iterable[tuple[str | None, str]]) -> list[FormerName]:
    """Return the names that tables had before, as far as a database knows them.

    Args:
        cursor: A cursor of the source, whose search path is closed.
        tables: The schema and the name of each table; without a schema, of any.
    """
    cursor.execute(_MAY_READ)
    if cursor.fetchone() != (True,):
        return []
    wanted = list(tables)
    cursor.execute(_FORMER, [[schema for schema, _ in wanted], [table for _, table in wanted]])
    return [FormerName(*row) for row in cursor.fetchall()]
