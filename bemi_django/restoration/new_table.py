"""The table that rows are restored into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from psycopg2.sql import SQL, Composable, Identifier

from bemi_django.exceptions import BemiError
from bemi_django.schema.sql import quote

Name = tuple[str, str]

_EXISTS = "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL"
# What the stream needed to know of the table; it stays when the table is dropped.
_DESCRIBED = """
SELECT description FROM _bemi.relations
WHERE system = (pg_control_system()).system_identifier
    AND description -> 'root' = jsonb_build_array(%s::text, %s::text)
ORDER BY description -> 'name' = description -> 'root' DESC, since DESC LIMIT 1
"""
_TYPES = """
SELECT c.name, CASE WHEN t.oid IS NOT NULL THEN format_type(t.oid, -1) END
FROM jsonb_to_recordset(%s::jsonb) c (name text, type oid) LEFT JOIN pg_type t ON t.oid = c.type
"""
_COLUMNS = """
SELECT a.attname, a.attgenerated <> '' FROM pg_attribute a
WHERE a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = format('%%I.%%I', %s::text, %s::text)::regclass AND i.indisprimary
    AND k.place <= i.indnkeyatts
ORDER BY k.place
"""


class NewTable(NamedTuple):
    """A table with no rows yet.

    Attributes:
        name: Its schema and name.
        columns: Its columns, without those that the server computes.
        computed: Those that the server computes.
        key: The columns of its primary key.
        notes: What it lacks, each a sentence.
    """

    name: Name
    columns: list[str]
    computed: list[str]
    key: list[str]
    notes: list[str]

    @property
    def quoted(self) -> Composable:
        """The name for SQL."""
        return Identifier(*self.name)


def create(cursor: Any, old: Name, new: Name) -> NewTable:
    """Create a table like another one, or like what is known of it if it was dropped.

    Args:
        cursor: A cursor of the source, in a transaction.
        old: The schema and the name of the table whose rows are restored.
        new: Those of the new table.

    Raises:
        BemiError: There is such a table, or nothing is known of the old one.
    """
    if _exists(cursor, new):
        raise BemiError(
            f"there is a table {'.'.join(new)} already: drop it, or choose another name with --to"
        )
    notes: list[str] = []
    if _exists(cursor, old):
        query = SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)")
        cursor.execute(query.format(Identifier(*new), Identifier(*old)))
    else:
        cursor.execute(_described(cursor, old, new, notes))
    cursor.execute(_COLUMNS, new)
    columns = cursor.fetchall()
    cursor.execute(_KEY, new)
    return NewTable(
        new,
        [column for column, is_computed in columns if not is_computed],
        [column for column, is_computed in columns if is_computed],
        [column for (column,) in cursor.fetchall()],
        notes,
    )


def _exists(cursor: Any, name: Name) -> bool:
    cursor.execute(_EXISTS, name)
    return bool(cursor.fetchone()[0])


def _described(cursor: Any, old: Name, new: Name, notes: list[str]) -> Composable:
    cursor.execute(_DESCRIBED, old)
    found = cursor.fetchone()
    if found is None:
        raise BemiError(
            f"nothing is known of the columns of {'.'.join(old)}: create it without rows, such as with "
            "'manage.py migrate', and restore its rows again"
        )
    (description,) = found
    pairs = [{"name": name, "type": type_} for name, type_ in description["columns"].items()]
    cursor.execute(_TYPES, [orjson.dumps(pairs).decode()])
    types = cursor.fetchall()
    notes.append(
        f"{'.'.join(old)} was dropped: the new table has its columns and its key, but no other constraints, "
        "defaults and indexes, and no length or precision of types"
    )
    if lost := [name for name, type_ in types if type_ is None]:
        notes.append(f"the types of these columns were dropped, and they are text now: {', '.join(lost)}")
    parts = [
        SQL("{} {}").format(Identifier(name), SQL(type_ or "text"))
        for name, type_ in _in_order(types, description["key"])
    ]
    if description["key"]:
        parts.append(SQL("PRIMARY KEY ({})").format(SQL(", ").join(map(Identifier, description["key"]))))
    return SQL("CREATE TABLE {} ({})").format(Identifier(*new), SQL(", ").join(parts))


def _in_order(types: Sequence[tuple[str, str | None]], key: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return the key first: the order of the columns is not known."""
    return sorted(
        types, key=lambda column: (key.index(column[0]) if column[0] in key else len(key), column[0])
    )


def swap(cursor: Any, old: Name, new: Name) -> list[str]:
    """Return the statements with which the new table takes the place of the old one."""
    schema, name = old
    lines = ["BEGIN;"]
    if _exists(cursor, old):
        lines.append(f"ALTER TABLE {_quoted(old)} RENAME TO {quote(name + '_replaced')};")
    if new[0] != schema:
        lines.append(f"ALTER TABLE {_quoted(new)} SET SCHEMA {quote(schema)};")
    lines.append(f"ALTER TABLE {_quoted((schema, new[1]))} RENAME TO {quote(name)};")
    return [*lines, "COMMIT;"]


def _quoted(name: Name) -> str:
    return ".".join(map(quote, name))
