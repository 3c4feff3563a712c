"""Find values that a foreign key takes for equal although they are written in two ways, as 1.0 and 1.00."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from bemi_django.log.live.live_rows import equal
from bemi_django.log.live.live_tables import LiveCatalog, LiveTable, Reference, listed, record
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.revert.draft import Draft, values_of

#: The values of the columns of a foreign key, or of those of the parent, in a hashable form.
Values = tuple[str, ...]
#: Values, and the foreign key that they are of.
Pair = tuple[Reference, Values]

_SIDE = """(
    SELECT wanted.number AS _bemi_number, {columns}
    FROM pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) WITH ORDINALITY wanted (value, number)
    CROSS JOIN LATERAL {given}) {alias}"""


class EqualKeys:
    """The values of parents that are equal to others, by the foreign key and these others."""

    def __init__(self, cursor: Any, catalog: LiveCatalog) -> None:
        self._cursor = cursor
        self._tables = catalog.tables
        self._found: dict[Pair, Values] = {}

    def read(self, children: Iterable[Pair], parents: Iterable[Pair], *, is_of_parents: bool = False) -> None:
        """Find the values of parents that are equal to those of children.

        Args:
            children: Values of rows that refer to a parent; with ``is_of_parents``, those of parents.
            parents: Values that parents are to have.
            is_of_parents: Whether ``children`` have the types of the parents.
        """
        becoming: dict[Reference, set[Values]] = defaultdict(set)
        wanted: dict[Reference, set[Values]] = defaultdict(set)
        for reference, values in parents:
            becoming[reference].add(values)
        for reference, values in children:
            if values not in becoming[reference]:
                wanted[reference].add(values)
        for reference, others in wanted.items():
            child = self._tables.get(reference.parent if is_of_parents else reference.child)
            parent = self._tables.get(reference.parent)
            if becoming[reference] and child is not None and parent is not None:
                columns = reference.parent_columns if is_of_parents else reference.columns
                self._compare(reference, child, columns, sorted(others), parent, sorted(becoming[reference]))

    def of(self, reference: Reference, values: Values) -> Values:
        """Return values as a parent has them, or as they are."""
        return self._found.get((reference, values), values)

    def _compare(
        self,
        reference: Reference,
        child: LiveTable,
        columns: tuple[str, ...],
        others: list[Values],
        parent: LiveTable,
        becoming: list[Values],
    ) -> None:
        # Of a key with a period, the values are without it.
        width = len(becoming[0])
        columns, own = columns[:width], reference.parent_columns[:width]
        condition = equal(reference.equalities[:width], "p", own, "c", columns)
        self._cursor.execute(
            f"SELECT c._bemi_number, p._bemi_number FROM {_side(child, columns, 'c')} "  # noqa: S608 - quoted
            f"JOIN {_side(parent, own, 'p')} ON {condition}",
            [_rows(child, columns, others), _rows(parent, own, becoming)],
        )
        for other, one in self._cursor.fetchall():
            self._found[reference, others[other - 1]] = becoming[one - 1]


def _side(table: LiveTable, columns: tuple[str, ...], alias: str) -> str:
    given = record(table, "wanted.value", "r")
    return _SIDE.format(columns=listed(columns, "r"), given=given, alias=alias)


def _rows(table: LiveTable, columns: tuple[str, ...], rows: list[Values]) -> str:
    return dumps([table.readable(dict(zip(columns, map(loads, row), strict=True))) for row in rows])


def given(draft: Draft, reference: Reference) -> Pair:
    """Return the values that a step gives to a foreign key of its row."""
    return reference, values_of(draft.target or {}, _plain(reference, reference.columns))


def held(draft: Draft, reference: Reference) -> Pair:
    """Return the values that the row of a step has now, to which a foreign key may refer."""
    return reference, values_of(draft.live or {}, _plain(reference, reference.parent_columns))


def written(draft: Draft, reference: Reference) -> Pair:
    """Return the values that a step writes, to which a foreign key may refer."""
    return reference, values_of(draft.target or {}, _plain(reference, reference.parent_columns))


def _plain(reference: Reference, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns in which a row of the parent has the values of the child."""
    return columns[:-1] if reference.has_period else columns
