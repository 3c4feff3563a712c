"""Types of columns, as far as they decide how Debezium sends values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

_TYPES = """
SELECT t.oid::bigint, t.typname::text, t.typtype = 'd', t.typbasetype::bigint, t.typtypmod,
       CASE WHEN t.typcategory = 'A' THEN t.typelem::bigint ELSE 0 END,
       (SELECT e.typdelim::text FROM pg_type e WHERE e.oid = t.typelem)
FROM pg_type t WHERE t.oid = ANY (%s::oid[])
"""
#: Domains over domains, and arrays of them, are followed so far.
_MAX_DEPTH = 20


class ColumnType(NamedTuple):
    """A type; ``name`` is that of the base of a domain, ``element`` that of an array's elements."""

    name: str
    modifier: int = -1
    element: ColumnType | None = None
    delimiter: str = ","


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
        name, is_domain, base, of_domain, element, delimiter = self._known[oid]
        if is_domain:
            return self.of(base, of_domain, depth + 1)
        if element:
            return ColumnType(name, modifier, self.of(element, modifier, depth + 1), delimiter)
        return ColumnType(name, modifier)
