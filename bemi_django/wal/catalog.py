"""What the source's catalog says of types and keys, which the stream leaves out."""

from __future__ import annotations

from typing import Any

from bemi_django.wal import rows, values
from bemi_django.wal.messages import Relation

_TYPE = """
SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE t.typname::text END,
       t.typbasetype,
       CASE WHEN t.typlen = -1 AND t.typcategory = 'A' THEN t.typelem ELSE 0 END,
       coalesce((SELECT e.typdelim FROM pg_type e WHERE e.oid = t.typelem), ','),
       t.typrelid,
       t.typnamespace = 'pg_catalog'::regnamespace
FROM pg_type t WHERE t.oid = %s
"""
_FIELDS = """
SELECT attname, atttypid FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisprimary ORDER BY k.place
"""
_ROOT = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_partition_root(%s)
"""


class Catalog:
    """Reads over one connection to the source; types are remembered."""

    def __init__(self, connection: Any, database: str) -> None:
        self._connection = connection
        self._database = database
        self._types: dict[int, values.Type] = {}

    def shape(self, relation: Relation) -> rows.Shape:
        """How rows of the relation are written; a partition is recorded under its root."""
        names = [column.name for column in relation.columns]
        key = tuple(names.index(name) for (name,) in self._rows(_KEY, relation.oid) if name in names)
        columns = tuple(
            (values.text(column.name.encode()) + b": ", values.encoder(self._type(column.type_oid)))
            for column in relation.columns
        )
        root = self._rows(_ROOT, relation.oid)
        schema, table = root[0] if root else (relation.schema, relation.name)
        return rows.Shape(rows.head(self._database, schema, table), columns, key)

    def _type(self, oid: int) -> values.Type:
        if oid not in self._types:
            self._types[oid] = self._read_type(oid)
        return self._types[oid]

    def _read_type(self, oid: int) -> values.Type:
        found = self._rows(_TYPE, oid)
        if not found:
            return values.Type("unknown")
        name, base, element, delimiter, relation, is_builtin = found[0]
        if base:
            return self._type(base)
        if element:
            return values.Type(name, self._type(element), delimiter.encode())
        fields = self._rows(_FIELDS, relation) if relation else []
        # A user's own type may have the name of a built-in one.
        own = name if is_builtin else "user-defined"
        return values.Type(own, fields=tuple((field, self._type(type_oid)) for field, type_oid in fields))

    def _rows(self, query: str, parameter: int) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, [parameter])
            return list(cursor.fetchall())
