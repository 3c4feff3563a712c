"""What has to be known of a table to read its rows in the order of the key."""

from __future__ import annotations

from typing import Any, NamedTuple

from bemi_django.exceptions import BemiError
from bemi_django.log.live.code_of_others import code_of_others
from bemi_django.log.live.key_query import EQUALS, EXCEEDS, key_query

_NAMES = """
SELECT n.nspname, c.relname, rn.nspname, r.relname, greatest(c.reltuples, 0)::bigint, (
    SELECT min(k.since)::text FROM _bemi.relations k
    WHERE k.relation = r.oid AND k.ended IS NULL
        AND k.system = (SELECT s.system_identifier FROM pg_control_system() s)
        AND k.description -> 'name' = jsonb_build_array(rn.nspname, r.relname))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.oid = %s
"""
# A column that is computed when it is read is computed by the worker, under a role without rights.
_COLUMNS = """
SELECT a.attname, a.atttypid::bigint FROM pg_attribute a
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated IN ('', 's')
ORDER BY a.attnum
"""
# The constraints of a domain, as a cast to json, are code of the table's owner.
_IS_SAFE = """
t.oid < 16384 OR t.typtype IN ('b', 'e') AND t.typcategory <> 'A' AND NOT EXISTS (
    SELECT FROM pg_cast s WHERE s.castsource = t.oid AND s.casttarget = 'json'::regtype)"""
_KEY = key_query("t.oid >= 16384", EQUALS, EXCEEDS, _IS_SAFE)


class SortedColumn(NamedTuple):
    """A column of the key.

    Attributes:
        name: Its name.
        type: Its type as SQL; of a domain, the type that it is made of.
        is_defined: The type is not one of the server's own.
        equals: The operator of its index for equal values.
        exceeds: That for greater values.
    """

    name: str
    type: str
    is_defined: bool
    equals: str
    exceeds: str


class ReadTable(NamedTuple):
    """A table that holds rows: a partition, or a tracked table itself.

    Attributes:
        oid: Its oid.
        schema: Its schema.
        name: Its name.
        root: The schema and the name under which its rows are recorded.
        estimate: The planner's number of its rows.
        since: The LSN from which on changes under that name are of it; None if it is not known.
        columns: The columns that are read, with the oids of their types.
        key: The columns of the primary key.
    """

    oid: int
    schema: str
    name: str
    root: tuple[str, str]
    estimate: int
    since: str | None
    columns: list[tuple[str, int]]
    key: list[SortedColumn]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def description(self) -> dict[str, Any]:
        """What the worker has to know of the table."""
        return {
            "relation": self.oid,
            "schema": self.schema,
            "name": self.name,
            "root": self.root,
            "since": self.since,
            "columns": self.columns,
        }


def read_table(cursor: Any, oid: int) -> ReadTable:
    """Return a table as it is now.

    Raises:
        BemiError: The table was dropped, or it has no primary key, or one that is not safe to read.
    """
    cursor.execute(_NAMES, [oid])
    found = cursor.fetchone()
    if found is None:
        raise BemiError("the table was dropped")
    schema, name, root_schema, root_name, estimate, since = found
    cursor.execute(_COLUMNS, [oid])
    columns = [(column, int(type_)) for column, type_ in cursor.fetchall()]
    cursor.execute(_KEY, {"table": oid})
    found = cursor.fetchall()
    if not found:
        raise BemiError("it has no primary key, by which its rows could be told from those with changes")
    for column, type_, *_, is_safe in found:
        if not is_safe:
            raise BemiError(
                f"the type {type_} of {column}, a column of its key, may run code of its owner: change the "
                "column to a type of the server, an enum or a domain of these, without a cast to json"
            )
    if others := code_of_others(cursor, oid):
        raise BemiError(f"reading it may run code of {', '.join(others)} as a superuser: use another role")
    key = [SortedColumn(*row[:-1]) for row in found]
    return ReadTable(oid, schema, name, (root_schema, root_name), estimate, since, columns, key)
