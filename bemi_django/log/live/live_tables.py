"""Describe live tables from the catalog: columns, keys and foreign keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from bemi_django.log.lossless_json import hstore
from bemi_django.schema.sql import quote

Name = tuple[str, str]
#: A row in the form of ``before`` and ``after``: ``{column: value}``.
RowValues = dict[str, Any]
#: Columns added to a row that was read from a table without a key: its table and ctid, which are stable
#: while the row is locked.
ADDRESS = ("_bemi_table", "_bemi_row")
_ADDRESS = {"_bemi_table": "t.tableoid", "_bemi_row": "t.ctid"}

# The names are passed as JSON, because drivers adapt arrays of pairs differently.
_COLUMNS = """
SELECT n.nspname::text, c.relname::text, a.attname::text, a.attgenerated <> '', a.attnotnull,
       pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname),
       (WITH RECURSIVE part (oid) AS (
            SELECT a.atttypid
            UNION
            SELECT nullif(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END, 0)
            FROM part JOIN pg_type t USING (oid))
        SELECT bool_or(t.typname = 'hstore') FROM part JOIN pg_type t USING (oid))
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# SET CONSTRAINTS takes a name in a schema. It fails if a constraint of another table has the same name and is
# not deferrable.
_AMBIGUOUS = """EXISTS (
    SELECT FROM pg_constraint o WHERE o.conname = {constraint}.conname
    AND o.connamespace = {constraint}.connamespace AND NOT o.condeferrable)"""
_UNIQUES = """
SELECT n.nspname::text, c.relname::text, x.relname::text, i.indisprimary,
       coalesce(u.condeferrable AND NOT {ambiguous}, false),
       coalesce(u.condeferred AND NOT {ambiguous}, false),
       (SELECT array_agg(a.attname::text ORDER BY k.number)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, number)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE k.number <= i.indnkeyatts)
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid
    AND i.indpred IS NULL AND i.indexprs IS NULL
JOIN pg_class x ON x.oid = i.indexrelid
LEFT JOIN pg_constraint u ON u.conindid = i.indexrelid AND u.conrelid = c.oid AND u.contype IN ('p', 'u')
ORDER BY x.relname
""".replace("{ambiguous}", _AMBIGUOUS.replace("{constraint}", "u"))
_PARTIALS = """
SELECT n.nspname::text, c.relname::text, x.relname::text, pg_get_expr(i.indpred, c.oid),
       (SELECT array_agg(pg_get_indexdef(i.indexrelid, k, false) ORDER BY k)
        FROM generate_series(1, i.indnkeyatts) k)
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid
    AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)
JOIN pg_class x ON x.oid = i.indexrelid
ORDER BY x.relname
"""
_REFERENCES = """
SELECT f.conname::text, cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text,
       (SELECT array_agg(a.attname::text ORDER BY k.number)
        FROM unnest(f.conkey) WITH ORDINALITY k (attnum, number)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
       (SELECT array_agg(a.attname::text ORDER BY k.number)
        FROM unnest(f.confkey) WITH ORDINALITY k (attnum, number)
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum),
       f.confdeltype::text, f.condeferrable AND NOT {ambiguous}, f.condeferred AND NOT {ambiguous}
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
  AND EXISTS (SELECT FROM jsonb_array_elements(%s::jsonb) wanted
              WHERE (wanted ->> 0, wanted ->> 1) IN ((cn.nspname, c.relname), (pn.nspname, p.relname)))
ORDER BY cn.nspname, c.relname, f.conname
""".replace("{ambiguous}", _AMBIGUOUS.replace("{constraint}", "f"))


_SET_PATH = "SELECT pg_catalog.set_config('search_path', %s, true)"


class Unique(NamedTuple):
    """A primary key, or a unique index on plain columns."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool
    is_deferrable: bool
    is_deferred: bool


class Partial(NamedTuple):
    """A partial unique index, or one on expressions; its SQL names columns without an alias."""

    name: str
    predicate: str
    expressions: tuple[str, ...]


class Reference(NamedTuple):
    """A foreign key; ``on_delete`` is ``pg_constraint.confdeltype``."""

    name: str
    child: Name
    parent: Name
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    on_delete: str
    is_deferrable: bool
    is_deferred: bool


class LiveTable(NamedTuple):
    """A live table; ``columns`` are the ones that can be written, so without generated columns."""

    name: Name
    columns: tuple[str, ...]
    required: frozenset[str]
    sequences: dict[str, str]
    hstores: frozenset[str]
    uniques: tuple[Unique, ...]
    partials: tuple[Partial, ...]

    @property
    def has_key(self) -> bool:
        """Whether the table has a primary key."""
        return any(unique.is_primary for unique in self.uniques)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, or ADDRESS without one."""
        return next((unique.columns for unique in self.uniques if unique.is_primary), ADDRESS)

    def readable(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row as ``jsonb_populate_record`` accepts it: hstore values are converted to text."""
        return {column: hstore(value) if column in self.hstores else value for column, value in row.items()}


class LiveCatalog(NamedTuple):
    """Tables by name, and the foreign keys from them and to them."""

    tables: dict[Name, LiveTable]
    references: list[Reference]

    def deferrable(self) -> list[tuple[str, str, bool]]:
        """Return (schema, name, whether it is INITIALLY DEFERRED) of each deferrable constraint."""
        return [
            *((one.child[0], one.name, one.is_deferred) for one in self.references if one.is_deferrable),
            *(
                (table.name[0], unique.name, unique.is_deferred)
                for table in self.tables.values()
                for unique in table.uniques
                if unique.is_deferrable
            ),
        ]


@contextmanager
def _only_catalog(cursor: Any) -> Iterator[None]:
    """Let names stand for objects of the catalog alone, and print others with their schema."""
    cursor.execute("SELECT pg_catalog.current_setting('search_path')")
    (path,) = cursor.fetchone()
    cursor.execute(_SET_PATH, ["pg_catalog, pg_temp"])
    yield
    cursor.execute(_SET_PATH, [path])


def read_references(cursor: Any, names: str) -> list[Reference]:
    """Return the foreign keys from and to tables; ``names`` is a JSON array of [schema, name] pairs."""
    with _only_catalog(cursor):
        return _references(cursor, names)


def _references(cursor: Any, names: str) -> list[Reference]:
    cursor.execute(_REFERENCES, [names])
    return [
        Reference(row[0], (row[1], row[2]), (row[3], row[4]), tuple(row[5]), tuple(row[6]), *row[7:])
        for row in cursor.fetchall()
    ]


def read_catalog(cursor: Any, names: str) -> LiveCatalog:
    """Describe tables; ``names`` is a JSON array of [schema, name] pairs. Missing tables are left out."""
    with _only_catalog(cursor):
        references = _references(cursor, names)
        cursor.execute(_COLUMNS, [names])
        columns = cursor.fetchall()
        cursor.execute(_UNIQUES, [names])
        uniques = cursor.fetchall()
        cursor.execute(_PARTIALS, [names])
        partials = cursor.fetchall()
    tables = {}
    for name in {(row[0], row[1]) for row in columns}:
        own = [row[2:] for row in columns if (row[0], row[1]) == name]
        tables[name] = LiveTable(
            name,
            tuple(column for column, is_generated, *_ in own if not is_generated),
            frozenset(column for column, _, is_required, *_ in own if is_required),
            {column: sequence for column, _, _, sequence, _ in own if sequence},
            frozenset(column for column, *_, is_hstore in own if is_hstore),
            tuple(Unique(row[2], tuple(row[6]), *row[3:6]) for row in uniques if (row[0], row[1]) == name),
            tuple(
                Partial(row[2], row[3] or "true", tuple(row[4]))
                for row in partials
                if (row[0], row[1]) == name
            ),
        )
    return LiveCatalog(tables, references)


def quoted(name: Name) -> str:
    """Return a qualified table name for a statement with parameters."""
    return f"{escaped(name[0])}.{escaped(name[1])}"


def escaped(identifier: str) -> str:
    """Return a quoted identifier for a statement with parameters: percent signs are doubled."""
    return quote(identifier).replace("%", "%%")


def key_object(columns: Collection[str]) -> str:
    """Return SQL for columns of ``t`` (or ADDRESS) as a JSON object; the names are parameters."""
    pairs = (
        "%s::pg_catalog.text, "
        + (f"{_ADDRESS[column]}::pg_catalog.text" if column in _ADDRESS else f"t.{escaped(column)}")
        for column in columns
    )
    return f"pg_catalog.jsonb_build_object({', '.join(pairs)})"


def listed(columns: Collection[str], alias: str) -> str:
    """Return the columns of an alias, comma-separated."""
    return ", ".join(f"{alias}.{escaped(column)}" for column in columns)
