"""Describe what the stream omits of a table: its root, its key, its generated columns and its types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from bemi_django.ingest.protocol.messages import Relation
from bemi_django.ingest.rows.values import Array, Castable, Composite, Domain, Plain, Type


class Generated(NamedTuple):
    """A column that the server computes and may not send; ``type`` and ``expression`` are SQL."""

    name: str
    type: str
    expression: str


class Description(NamedTuple):
    """A table between two DDL statements.

    Attributes:
        name: The schema and the name of the table.
        root: The schema and the name under which its rows are recorded.
        named_by: The tables, by oid, whose message gives a context to the rows.
        columns: The type's oid of each column.
        key: The columns of the primary key, in the order of the key.
        generated: The columns that the server computes.
        types: The types with parts, by oid.
    """

    name: tuple[str, str]
    root: tuple[str, str]
    named_by: frozenset[int]
    columns: dict[str, int]
    key: tuple[str, ...]
    generated: tuple[Generated, ...]
    types: dict[int, Type]

    def matches(self, relation: Relation) -> bool:
        """Return whether the stream describes the same columns, except for those that it omits."""
        sent = {column.name: column.type_oid for column in relation.columns}
        left_out = self.columns.keys() - {column.name for column in self.generated} - sent.keys()
        return sent.items() <= self.columns.items() and not left_out

    def has_key(self, relation: Relation) -> bool:
        """Return whether the table, as the stream describes it, has the columns of the key."""
        names = {column.name for column in relation.columns} | {column.name for column in self.generated}
        return names.issuperset(self.key)


class Version(NamedTuple):
    """A description with the transaction that made it, and the LSNs from which it is valid.

    In that transaction it is valid from ``since`` on, in all others from ``since_elsewhere`` on.
    """

    description: Description
    xid: int
    since: int
    since_elsewhere: int

    def begin(self, xid: int) -> int:
        """Return the LSN from which the description is valid in a transaction."""
        return self.since if xid == self.xid else self.since_elsewhere


class Chosen(NamedTuple):
    """Descriptions of a table at an LSN, the best first; between two LSNs the choice is the same."""

    descriptions: list[Description]
    since: int
    until: int


#: An LSN beyond all others.
END = 1 << 64


def parse(stored: dict[str, Any]) -> Description:
    """Return a description from the JSON that ``_bemi.describe_v1`` made."""
    (schema, table), (root_schema, root_table) = stored["name"], stored["root"]
    return Description(
        (schema, table),
        (root_schema, root_table),
        frozenset(stored["named_by"]),
        stored["columns"],
        tuple(stored["key"]),
        tuple(Generated(*column) for column in stored["generated"]),
        parse_types(stored["types"]),
    )


def of_columns(relation: Relation) -> Description:
    """Return the description of a table of which only the stream's own is known."""
    name = (relation.schema, relation.name)
    columns = {column.name: column.type_oid for column in relation.columns}
    return Description(name, name, frozenset({relation.oid}), columns, (), (), {})


def parse_types(stored: dict[str, Any]) -> dict[int, Type]:
    """Return types by oid from the JSON that ``_bemi.types_v1`` made."""
    return {int(oid): _type(int(oid), definition) for oid, definition in stored.items()}


def choose(versions: Iterable[Version], relation: Relation, lsn: int, xid: int) -> Chosen:
    """Choose among the descriptions of a relation those that may be valid for a row.

    Where DDL was noticed, the first one is right. Where it was not, the first one does not match the columns
    or the row, and the description that was made after the DDL comes next.

    Args:
        versions: All that is known of the relation.
        relation: The relation as the stream describes it.
        lsn: Where the row lies in the WAL.
        xid: The row's transaction, 32 bits.
    """
    ordered = sorted(versions, key=lambda version: version.begin(xid))
    past = [version for version in ordered if version.begin(xid) <= lsn]
    future = ordered[len(past) :]
    likely = [*past[-1:], *future, *past[-2::-1]]
    return Chosen(
        best_first([version.description for version in likely], relation),
        past[-1].begin(xid) if past else 0,
        future[0].begin(xid) if future else END,
    )


def best_first(descriptions: list[Description], relation: Relation) -> list[Description]:
    """Sort descriptions: first those that match the relation, then those whose key it has."""
    return sorted(descriptions, key=lambda one: (not one.matches(relation), not one.has_key(relation)))


def _type(oid: int, definition: dict[str, Any]) -> Type:
    if "base" in definition:
        return Domain(definition["base"])
    if "element" in definition:
        return Array(definition["element"], definition["delimiter"])
    if "fields" in definition:
        return Composite(tuple((name, field) for name, field in definition["fields"]))
    if "cast" in definition:
        return Castable(oid, definition["cast"], definition["source"])
    return Plain()
