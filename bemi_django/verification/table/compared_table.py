"""The tables that can be compared, with what DDL has done to them since they are tracked."""

from __future__ import annotations

from typing import Any, NamedTuple

from psycopg2.sql import SQL, Composable, Identifier

from bemi_django.log.live.code_of_others import code_of_others
from bemi_django.masking import flat_types
from bemi_django.verification.table.key_columns import KeyColumn, read_key
from bemi_django.verification.table.transaction_ids import whole_xid
from bemi_django.verification.table.versions import TableVersion, own_versions, read_versions

_TABLE = """
SELECT n.nspname, c.relname, c.relkind = 'p', row_security_active(c.oid), current_user::text,
       c.xmin::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s
"""
# Renaming a value of an enum or an attribute of a composite type changes no row. They may be parts of others.
_COLUMNS = """
WITH RECURSIVE used (attnum, oid) AS (
    SELECT a.attnum, a.atttypid FROM pg_attribute a
    WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT u.attnum, part.oid FROM used u JOIN pg_type t USING (oid) CROSS JOIN LATERAL (
        SELECT each FROM unnest(ARRAY[t.typelem, t.typbasetype]) each WHERE each <> 0
        UNION ALL
        SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        UNION ALL
        SELECT f.atttypid FROM pg_attribute f
        WHERE t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped) part (oid)
)
SELECT a.attname, a.atttypid::bigint, {oid}, a.xmin::text::bigint, ARRAY(
    SELECT e.xmin::text::bigint FROM used u JOIN pg_enum e ON e.enumtypid = u.oid WHERE u.attnum = a.attnum
    UNION ALL
    SELECT f.xmin::text::bigint
    FROM used u JOIN pg_type t ON t.oid = u.oid AND t.typtype = 'c'
    JOIN pg_attribute f ON f.attrelid = t.typrelid
    WHERE u.attnum = a.attnum)
FROM pg_attribute a
WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
""".replace("{oid}", flat_types.OID.format("a.atttypid"))
# A partition that is a foreign table has its rows, and their changes, in the WAL of another server.
_LEAVES = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind = 'f' FROM pg_partition_tree(%s) p
JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.isleaf AND c.relkind IN ('r', 'f') ORDER BY c.oid
"""


class TableColumn(NamedTuple):
    """A column; ``defined`` and ``type_defined`` are the transactions that last altered it and its type.

    ``told`` is its type as masks take it: all types whose values have no keys are alike.
    """

    type: int
    told: int
    defined: int
    type_defined: int


class Leaf(NamedTuple):
    """A table that holds rows: a partition, or the table itself.

    ``since`` is the version with which its rows came under the name of the compared table.
    """

    oid: int
    schema: str
    name: str
    since: TableVersion | None

    @property
    def rows(self) -> Composable:
        """Return the FROM item, without tables that inherit: they have logs of their own."""
        return SQL("ONLY ") + Identifier(self.schema, self.name)


class ComparedTable(NamedTuple):
    """A tracked table as it is, and ``versions`` of it, the first one from when its log began.

    ``obstacle`` says why it is not to be read, if that is so. ``altered`` are transactions that wrote its
    definition, and may have rewritten its rows. ``foreign`` are names of partitions that are foreign tables.
    """

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    obstacle: str
    key: list[KeyColumn]
    columns: dict[str, TableColumn]
    versions: list[TableVersion]
    leaves: list[Leaf]
    foreign: list[str]
    altered: frozenset[int]
    latest: int

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def rows(self) -> Composable:
        """Return the FROM item: a root with its partitions, but a parent without its children."""
        only = SQL("") if self.is_partitioned else SQL("ONLY ")
        return only + Identifier(self.schema, self.name)

    @property
    def own_rows(self) -> list[Composable]:
        """Return the FROM items that together have all rows of this server.

        The root would read foreign tables, too, whose rows have no ``xmin``.
        """
        return [leaf.rows for leaf in self.leaves] if self.foreign else [self.rows]


def read_table(server: Any, oid: int) -> ComparedTable | None:
    """Return a table as it is now, or None if it was dropped."""
    with server.cursor() as cursor:
        cursor.execute(_TABLE, [oid])
        found = cursor.fetchone()
        if found is None:
            return None
        schema, name, is_partitioned, is_hidden, role, defined, latest = found
        obstacle = ""
        if is_hidden:
            obstacle = (
                f"row-level security applies to the role {role}; give it BYPASSRLS to have the table compared"
            )
        elif others := code_of_others(cursor, oid):
            obstacle = f"reading it may run code of {', '.join(others)} as a superuser: use another role"
        key = read_key(cursor, oid, latest)
        cursor.execute(_COLUMNS, {"table": oid})
        columns = {
            column: TableColumn(
                type_,
                told,
                whole_xid(xid, latest),
                max((whole_xid(each, latest) for each in type_xids), default=0),
            )
            for column, type_, told, xid, type_xids in cursor.fetchall()
        }
        cursor.execute(_LEAVES, [oid])
        found = cursor.fetchall() if is_partitioned else [(oid, schema, name, False)]
        parts = [(part, *named) for part, *named, is_foreign in found if not is_foreign]
        foreign = [f"{schema_}.{name_}" for _, schema_, name_, is_foreign in found if is_foreign]
        if foreign and not parts:
            obstacle = "its partitions are foreign tables, whose changes are not recorded"
        known = read_versions(cursor, [oid, *(part for part, *_ in parts)])
    versions = own_versions(known.get(oid, []))
    names = {version.name for version in versions} | {(schema, name)}
    leaves = [
        Leaf(part, schema_, name_, _since(known.get(part, []), names)) for part, schema_, name_ in parts
    ]
    altered = {whole_xid(defined, latest), *(column.defined for column in columns.values())}
    altered |= {version.xid for each in known.values() for version in each}
    return ComparedTable(
        oid,
        schema,
        name,
        is_partitioned,
        obstacle,
        key,
        columns,
        versions,
        leaves,
        foreign,
        frozenset(altered),
        latest,
    )


def _since(versions: list[TableVersion], names: set[tuple[str, str]]) -> TableVersion | None:
    """Return the first of the last versions, all of which are recorded under one of the names."""
    found = None
    for version in reversed(versions):
        if version.root not in names:
            break
        found = version
    return found
