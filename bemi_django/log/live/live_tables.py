"""Describe live tables from the catalog: columns, keys and foreign keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from bemi_django.log.live.catalog_queries import COLUMNS, PARTIALS, REFERENCES, UNIQUES
from bemi_django.log.live.equality import Equality, equalities
from bemi_django.log.lossless_json import VECTORS, hstore
from bemi_django.schema import search_path
from bemi_django.schema.sql import quote

Name = tuple[str, str]
#: A row in the form of ``before`` and ``after``: ``{column: value}``.
RowValues = dict[str, Any]
#: Columns added to a row that was read from a table without a key: its table and ctid, which are stable
#: while the row is locked.
ADDRESS = ("_bemi_table", "_bemi_row")
# A keyword is quoted since PostgreSQL 17.
_DOCUMENTS = ("pg_catalog.json", 'pg_catalog."json"', "pg_catalog.jsonb")
_ADDRESS = {"_bemi_table": "t.tableoid", "_bemi_row": "t.ctid"}


class Unique(NamedTuple):
    """A primary key, a unique index on plain columns, or an exclusion constraint on them.

    Two rows cannot be there together if their columns are equal by the operators ``equalities``. Those of an
    exclusion constraint need not tell what is equal: several rows may exclude one.
    """

    name: str
    columns: tuple[str, ...]
    is_primary: bool
    is_deferrable: bool
    is_deferred: bool
    equalities: tuple[Equality, ...]
    is_exclusion: bool = False


class Partial(NamedTuple):
    """A partial unique index, or one on expressions; its SQL names columns without an alias."""

    name: str
    predicate: str
    expressions: tuple[str, ...]
    equalities: tuple[Equality, ...]


class Reference(NamedTuple):
    """A foreign key; ``on_delete`` is ``pg_constraint.confdeltype``, and ``on_update`` is ``confupdtype``.

    ``equalities`` compare the columns of the parent with those of the child. With ``has_period``, the last
    column is a range that the ranges of several rows of the parent may cover. ``cleared`` are the columns
    that ``ON DELETE SET NULL (...)`` names; without any, it sets them all.
    """

    name: str
    child: Name
    parent: Name
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    on_delete: str
    is_deferrable: bool
    is_deferred: bool
    equalities: tuple[Equality, ...] = ()
    on_update: str = "a"
    has_period: bool = False
    cleared: tuple[str, ...] = ()


class LiveTable(NamedTuple):
    """A live table; ``columns`` are the ones that can be written, so without generated columns.

    An INSERT must have a value for those in ``indispensable``: they have neither a default nor NULL.
    ``types`` has the types of all columns, without domains, if one of them is a domain or in ``documents``;
    else it is empty. ``documents`` are the columns of type json or jsonb that cannot be NULL, so that a null
    in the log is that of JSON. ``readers`` return the text of values whose JSON the type cannot be read from.
    """

    name: Name
    columns: tuple[str, ...]
    required: frozenset[str]
    sequences: dict[str, str]
    readers: Mapping[str, Callable[[Any], Any]]
    uniques: tuple[Unique, ...]
    partials: tuple[Partial, ...]
    indispensable: frozenset[str] = frozenset()
    types: Mapping[str, str] = {}
    documents: frozenset[str] = frozenset()

    @property
    def primary(self) -> Unique | None:
        """The primary key, or None."""
        return next((unique for unique in self.uniques if unique.is_primary), None)

    @property
    def has_key(self) -> bool:
        """Whether the table has a primary key."""
        return self.primary is not None

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, or ADDRESS without one."""
        return self.primary.columns if self.primary else ADDRESS

    def readable(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row as ``jsonb_populate_record`` accepts it: hstores and vectors as text."""
        read = {column: reader(row[column]) for column, reader in self.readers.items() if column in row}
        return {**row, **read}


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


def read_references(cursor: Any, names: str) -> list[Reference]:
    """Return the foreign keys from and to tables; ``names`` is a JSON array of [schema, name] pairs."""
    with search_path.closed(cursor):
        return _references(cursor, names)


def _references(cursor: Any, names: str) -> list[Reference]:
    cursor.execute(REFERENCES, [names])
    return [
        Reference._make(
            [
                row[0],
                row[1:3],
                row[3:5],
                tuple(row[5]),
                tuple(row[6]),
                *row[7:10],
                equalities(row[10]),
                *row[11:13],
                tuple(row[13] or ()),
            ]
        )
        for row in map(tuple, cursor.fetchall())
        if row[14]
    ]


def read_catalog(cursor: Any, names: str) -> LiveCatalog:
    """Describe tables; ``names`` is a JSON array of [schema, name] pairs. Missing tables are left out."""
    with search_path.closed(cursor):
        references = _references(cursor, names)
        cursor.execute(COLUMNS, [names])
        columns = cursor.fetchall()
        cursor.execute(UNIQUES, [names, names])
        uniques = cursor.fetchall()
        cursor.execute(PARTIALS, [names])
        partials = cursor.fetchall()
    tables = {}
    for name in {(row[0], row[1]) for row in columns}:
        own = [row[2:] for row in columns if (row[0], row[1]) == name]
        documents = frozenset(row[0] for row in own if row[2] and row[4] in _DOCUMENTS)
        tables[name] = LiveTable(
            name,
            tuple(column for column, is_generated, *_ in own if not is_generated),
            frozenset(column for column, _, is_required, *_ in own if is_required),
            {column: sequence for column, _, _, sequence, *_ in own if sequence},
            {row[0]: hstore if row[6] else VECTORS[row[4]] for row in own if row[6] or row[4] in VECTORS},
            tuple(
                Unique._make([row[2], tuple(row[6]), *row[3:6], equalities(row[7]), row[8]])
                for row in uniques
                if (row[0], row[1]) == name
            ),
            tuple(
                Partial(row[2], row[3] or "true", tuple(row[4]), equalities(row[5]))
                for row in partials
                if (row[0], row[1]) == name
            ),
            frozenset(column for column, *_, is_indispensable in own if is_indispensable),
            {row[0]: row[4] for row in own} if documents or any(row[5] for row in own) else {},
            documents,
        )
    return LiveCatalog(tables, references)


def quoted(name: Name) -> str:
    """Return a qualified table name for a statement with parameters."""
    return f"{escaped(name[0])}.{escaped(name[1])}"


def escaped(identifier: str) -> str:
    """Return a quoted identifier for a statement with parameters: percent signs are doubled."""
    return quote(identifier).replace("%", "%%")


def record(table: LiveTable, values: str, alias: str) -> str:
    """Return the FROM item that reads columns of a table from a JSON object; those it lacks are NULL.

    Args:
        table: The table.
        values: SQL for the object.
        alias: The name of the row.
    """
    if not table.types:
        return f"pg_catalog.jsonb_populate_record(NULL::{quoted(table.name)}, {values}) {alias}"
    # A domain need not allow NULL. It is checked when a value is written.
    columns = ", ".join(
        f"{escaped(column)} {kind.replace('%', '%%')}" for column, kind in table.types.items()
    )
    if not table.documents:
        return f"pg_catalog.jsonb_to_record({values}) {alias} ({columns})"
    read = ", ".join(
        f"coalesce(v.{escaped(column)}, 'null'::{kind}) AS {escaped(column)}"
        if column in table.documents
        else f"v.{escaped(column)}"
        for column, kind in table.types.items()
    )
    return f"(SELECT {read} FROM pg_catalog.jsonb_to_record({values}) v ({columns})) {alias}"  # noqa: S608 - quoted


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
