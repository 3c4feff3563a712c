"""Types of columns, as far as they decide how Debezium sends values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

_TYPES = """
SELECT t.oid::bigint, t.typname::text, t.typtype::text, t.typbasetype::bigint, t.typtypmod,
       CASE WHEN t.typcategory = 'A' THEN t.typelem::bigint ELSE 0 END,
       (SELECT e.typdelim::text FROM pg_type e WHERE e.oid = t.typelem)
FROM pg_type t WHERE t.oid = ANY (%s::oid[])
"""
_DOMAIN, _ENUM = "d", "e"
#: Types that the connector sends; the text of others it sends as bytes, with ``include.unknown.datatypes``.
_SENT = frozenset(
    (
        *(
            "bool",
            "int2",
            "int4",
            "int8",
            "oid",
            "float4",
            "float8",
            "numeric",
            "money",
            "bytea",
            "bit",
            "varbit",
        ),
        *("date", "time", "timetz", "timestamp", "timestamptz", "interval"),
        *("text", "varchar", "bpchar", "char", "name", "citext", "xml", "uuid", "json", "jsonb", "hstore"),
        *(
            "inet",
            "cidr",
            "macaddr",
            "macaddr8",
            "tsvector",
            "ltree",
            "isbn",
            "point",
            "geometry",
            "geography",
        ),
        *("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
        *("vector", "halfvec", "sparsevec"),
    )
)
#: Domains over domains, and arrays of them, are followed so far.
_MAX_DEPTH = 20


class ColumnType(NamedTuple):
    """A type; ``name`` is that of the base of a domain, ``element`` that of an array's elements.

    ``is_opaque`` tells whether the connector does not know it, and sends text as bytes if it sends it at all.
    """

    name: str
    modifier: int = -1
    element: ColumnType | None = None
    delimiter: str = ","
    is_opaque: bool = False


#: That of a column of which nothing is known.
UNKNOWN = ColumnType("")


class ColumnTypes:
    """Finds types, and remembers them: those that have a name stay as they are, whatever DDL comes.

    Args:
        rows: Returns the rows of a query on the source.
    """

    def __init__(self, rows: Callable[[str, list[Any]], list[tuple[Any, ...]]]) -> None:
        self._rows = rows
        self._known: dict[int, tuple[Any, ...]] = {}

    def require(self, oids: Iterable[int]) -> None:
        """Ask for types at once, to spare questions."""
        if missing := sorted(set(oids) - self._known.keys()):
            self._known.update((found[0], found[1:]) for found in self._rows(_TYPES, [missing]))

    def of(self, oid: int, modifier: int = -1, depth: int = 0) -> ColumnType:
        """Return a type, with the modifier of its column."""
        self.require([oid])
        if oid not in self._known or depth > _MAX_DEPTH:
            return UNKNOWN
        name, kind, base, of_domain, element, delimiter = self._known[oid]
        if kind == _DOMAIN:
            return self.of(base, of_domain, depth + 1)
        if element:
            found = self.of(element, modifier, depth + 1)
            if element in self._known and self._known[element][1] == _DOMAIN:
                # It knows domains, but not in arrays.
                found = found._replace(is_opaque=True)
            return ColumnType(name, modifier, found, delimiter)
        return ColumnType(name, modifier, is_opaque=name not in _SENT and kind != _ENUM)
