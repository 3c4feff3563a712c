"""The names that tables had before, under which the log has their earlier changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from bemi_django.exceptions import BemiError
from bemi_django.schema.search_path import closed_cursor

# The names that each table has had, with its last one. Of versions of which rows were recorded under the
# name of a root, the root has the rule; and a table that has become a partition has that of its root. On a
# server that it was copied from, numbers mean other tables.
_NAMES = """
WITH names AS (
    SELECT DISTINCT v.system, v.relation, v.name ->> 0 AS schema, v.name ->> 1 AS name,
           v.last ->> 0 AS last_schema, v.last ->> 1 AS last_name
    FROM (
        SELECT k.*, last_value(k.root) OVER (
            PARTITION BY k.system, k.relation ORDER BY k.since
            RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last
        FROM (SELECT r.*, r.description -> 'name' AS name, r.description -> 'root' AS root
              FROM _bemi.relations r) k) v
    WHERE v.root = v.name
),
here AS (SELECT s.system_identifier AS system FROM pg_control_system() s)
"""
_FORMER = """
SELECT wanted.schema, wanted.name, v.schema, v.name, bool_or(o.relation IS NOT NULL)
FROM here CROSS JOIN unnest(%s::text[], %s::text[]) wanted (schema, name)
JOIN names v ON v.last_name = wanted.name AND v.last_schema = coalesce(wanted.schema, v.last_schema)
    AND (v.schema, v.name) <> (v.last_schema, v.last_name)
LEFT JOIN names o ON o.name = v.name AND (wanted.schema IS NULL OR o.schema = v.schema)
    AND (o.last_name <> wanted.name OR o.last_schema <> wanted.schema) AND o.system IN (v.system, here.system)
GROUP BY 1, 2, 3, 4
"""
_SHARED = """
SELECT DISTINCT f.place
FROM here CROSS JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
    f (of_schema, of_name, schema, name, place)
JOIN names o ON o.name = f.name AND (f.of_schema IS NULL OR o.schema = f.schema)
    AND (o.last_name <> f.of_name OR o.last_schema <> f.of_schema) AND o.system = here.system
"""
_MAY_READ = """
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname = 'relations'
"""
_UNREADABLE = (
    "the former names of tables in {!r} cannot be read, and their changes may have to be kept: grant USAGE "
    "ON SCHEMA _bemi and SELECT ON _bemi.relations there, or connect as a role that has them"
)


class FormerName(NamedTuple):
    """A name that a table had before it was renamed, moved to another schema, or made a partition of it.

    Attributes:
        of_schema: The schema of the table as it was asked for.
        of_table: Its present name.
        schema: The schema that it had.
        table: The name that it had.
        is_shared: Whether another table has, or had, the same name: in any schema, if ``of_schema`` is None.
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
    if not may_read_names(cursor):
        return []
    wanted = list(tables)
    cursor.execute(_NAMES + _FORMER, [[schema for schema, _ in wanted], [table for _, table in wanted]])
    return [FormerName(*row) for row in cursor.fetchall()]


def former_names_in(
    aliases: Iterable[str], tables: Iterable[tuple[str | None, str]], is_to_remove: bool
) -> list[FormerName]:
    """Return the same of several databases, by which a name is shared with a table of any of them.

    Args:
        aliases: The aliases of the sources.
        tables: See :func:`former_names`.
        is_to_remove: Whether something is removed by them, so that none must be missing.

    Raises:
        BemiError: The role may not read those of a source, and something is removed.
    """
    sources, wanted, found = list(aliases), list(tables), list[FormerName]()
    for alias in sources:
        with closed_cursor(alias) as cursor:
            if is_to_remove and may_read_names(cursor) is False:
                raise BemiError(_UNREADABLE.format(alias))
            found += former_names(cursor, wanted)
    shared: set[FormerName] = set()
    for alias in sources if found else ():
        with closed_cursor(alias) as cursor:
            shared.update(_shared_with(cursor, found))
    return [name._replace(is_shared=name.is_shared or name in shared) for name in found]


def _shared_with(cursor: Any, names: Sequence[FormerName]) -> Iterator[FormerName]:
    if may_read_names(cursor):
        parts = [list(part) for part in zip(*names, strict=True)]
        cursor.execute(_NAMES + _SHARED, parts[:4])
        yield from (names[place - 1] for (place,) in cursor.fetchall())


def may_read_names(cursor: Any) -> bool | None:
    """Tell whether the role may read the names that tables had; None if the database knows none."""
    cursor.execute(_MAY_READ)
    found = cursor.fetchone()
    return None if found is None else bool(found[0])
