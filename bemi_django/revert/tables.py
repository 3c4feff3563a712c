"""What the catalog says of tables: columns, keys and what refers to what."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from bemi_django.sql import quote

Name = tuple[str, str]

# Their names as JSON: drivers read arrays of names in different ways.
_COLUMNS = """
SELECT n.nspname::text, c.relname::text, a.attname::text, a.attgenerated <> '', a.attnotnull,
       pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname)
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_UNIQUES = """
SELECT n.nspname::text, c.relname::text, x.relname::text, i.indisprimary, NOT i.indimmediate,
       (SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE k.place <= i.indnkeyatts)
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid
    AND i.indpred IS NULL AND i.indexprs IS NULL
JOIN pg_class x ON x.oid = i.indexrelid
ORDER BY x.relname
"""
_REFERENCES = """
SELECT f.conname::text, cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text,
       (SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM unnest(f.conkey) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
       (SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM unnest(f.confkey) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum),
       f.confdeltype::text, f.condeferrable, f.condeferred
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
  AND EXISTS (SELECT FROM jsonb_array_elements(%s::jsonb) wanted
              WHERE (wanted ->> 0, wanted ->> 1) IN ((cn.nspname, c.relname), (pn.nspname, p.relname)))
ORDER BY cn.nspname, c.relname, f.conname
"""


class Unique(NamedTuple):
    """A primary key or a unique index of plain columns."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool
    is_deferrable: bool


class Reference(NamedTuple):
    """A foreign key; ``on_delete`` is the letter that ``pg_constraint`` has for it."""

    name: str
    child: Name
    parent: Name
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    on_delete: str
    is_deferrable: bool
    is_deferred: bool


class Table(NamedTuple):
    """A table as it is now; ``columns`` are those that can be written."""

    name: Name
    columns: tuple[str, ...]
    required: frozenset[str]
    sequences: dict[str, str]
    uniques: tuple[Unique, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key; none without one."""
        return next((unique.columns for unique in self.uniques if unique.is_primary), ())


class Catalog(NamedTuple):
    """Tables by name, and the foreign keys from and to them."""

    tables: dict[Name, Table]
    references: list[Reference]


def read_references(cursor: Any, names: str) -> list[Reference]:
    """The foreign keys from and to tables, whose names are given as JSON."""
    cursor.execute(_REFERENCES, [names])
    return [
        Reference(row[0], (row[1], row[2]), (row[3], row[4]), tuple(row[5]), tuple(row[6]), *row[7:])
        for row in cursor.fetchall()
    ]


def read_catalog(cursor: Any, names: str) -> Catalog:
    """Describe tables, whose names are given as JSON; those that are gone are left out."""
    references = read_references(cursor, names)
    cursor.execute(_COLUMNS, [names])
    columns = cursor.fetchall()
    cursor.execute(_UNIQUES, [names])
    uniques = cursor.fetchall()
    tables = {}
    for name in {(row[0], row[1]) for row in columns}:
        own = [row[2:] for row in columns if (row[0], row[1]) == name]
        tables[name] = Table(
            name,
            tuple(column for column, is_generated, *_ in own if not is_generated),
            frozenset(column for column, _, is_required, _ in own if is_required),
            {column: sequence for column, _, _, sequence in own if sequence},
            tuple(
                Unique(row[2], tuple(row[5]), row[3], row[4]) for row in uniques if (row[0], row[1]) == name
            ),
        )
    return Catalog(tables, references)


def quoted(name: Name) -> str:
    """A table's name in a statement with parameters."""
    return f"{escaped(name[0])}.{escaped(name[1])}"


def escaped(identifier: str) -> str:
    """A name in a statement with parameters, where a percent sign is written twice."""
    return quote(identifier).replace("%", "%%")


def listed(columns: Collection[str], alias: str) -> str:
    """Columns of an alias, with commas."""
    return ", ".join(f"{alias}.{escaped(column)}" for column in columns)
