"""Other spellings of keys, and of what refers to them: texts may be equal that differ in the log.

Columns of the type citext, of a collation that does not tell letters apart, and of char(n) do so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from bemi_django import conf
from bemi_django.log.conditions import in_table, value_of
from bemi_django.log.live.live_rows import equal
from bemi_django.log.live.live_tables import LiveTable, Reference, read_catalog, record
from bemi_django.log.live.row_session import row_session
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import Place
from bemi_django.models import Change

_MAY_DIFFER = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
    LEFT JOIN pg_catalog.pg_collation l ON l.oid OPERATOR(pg_catalog.=) a.attcollation
    WHERE n.nspname OPERATOR(pg_catalog.=) %s::pg_catalog.name
        AND c.relname OPERATOR(pg_catalog.=) %s::pg_catalog.name
        AND a.attname OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.name[])
        AND t.typcategory OPERATOR(pg_catalog.=) 'S'::pg_catalog."char"
        AND (NOT COALESCE(l.collisdeterministic, true)
            OR t.oid OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog.text', 'pg_catalog.varchar']
                                                  ::pg_catalog.regtype[]::pg_catalog.oid[])))
"""
_EQUAL = """
SELECT g.number FROM pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) WITH ORDINALITY g (value, number)
CROSS JOIN LATERAL {child}
WHERE EXISTS (
    SELECT FROM pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) w (value)
    CROSS JOIN LATERAL {parent}
    WHERE {condition})
ORDER BY g.number
"""
#: Values that are compared at once.
_BATCH = 500


class Spellings:
    """The spellings of a foreign key.

    Args:
        alias: Alias of the database.
        place: The table of the rows that refer to others.
        reference: The foreign key.
    """

    def __init__(self, alias: str, place: Place, reference: Reference) -> None:
        self._alias = alias
        self._place = place
        self._reference = reference

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the child."""
        return self._reference.columns

    def of(
        self, values: Collection[tuple[Any, ...]], names: Iterable[Sequence[str]]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield what the log has in the columns that is equal to one of some values, and another text.

        Args:
            values: Values of the columns of the parent.
            names: The columns of the child, by all names that they had.
        """
        found = (each for name in names for each in self._logged(name))
        yield from self.among(found, values)

    def among(
        self, found: Iterable[tuple[Any, ...]], values: Collection[tuple[Any, ...]]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield those of some values of the child that are equal to one of the parent, and another text.

        Args:
            found: Values of the columns of the child; read only if its types take several texts for equal.
            values: Values of the columns of the parent.
        """
        if not values or not self._may_differ:
            return
        others = (each for each in found if each not in values)
        while batch := list(islice(others, _BATCH)):
            yield from self._equal(batch, list(values))

    @cached_property
    def _may_differ(self) -> bool:
        with row_session(self._alias) as cursor:
            cursor.execute(_MAY_DIFFER, [*self._reference.child, list(self._reference.columns)])
            return bool(cursor.fetchone() == (True,))

    def _logged(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        log = Change.objects.using(conf.destination()).filter(in_table(self._place)).order_by()
        for side in ("before", "after"):
            columns = {f"value_{number}": value_of(side, name) for number, name in enumerate(names)}
            for values in log.annotate(**columns).values_list(*columns).distinct().iterator(_BATCH):
                if None not in values:
                    yield values

    def _equal(
        self, found: Sequence[tuple[Any, ...]], values: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[Any, ...]]:
        reference = self._reference
        with row_session(self._alias) as cursor:
            tables = read_catalog(cursor, dumps([reference.child, reference.parent])).tables
            child, parent = tables.get(reference.child), tables.get(reference.parent)
            if child is None or parent is None:
                return
            condition = equal(reference.equalities, "p", reference.parent_columns, "c", reference.columns)
            statement = _EQUAL.format(
                child=record(child, "g.value", "c"),
                parent=record(parent, "w.value", "p"),
                condition=condition,
            )
            cursor.execute(
                statement,
                [_rows(child, reference.columns, found), _rows(parent, reference.parent_columns, values)],
            )
            numbers = [number for (number,) in cursor.fetchall()]
        yield from (found[number - 1] for number in numbers)


def spellings_of_key(alias: str, place: Place, key: str) -> Iterator[str]:
    """Yield the keys of rows of the log that are equal to one, and other texts.

    Args:
        alias: Alias of the database.
        place: The table, whose key has one column.
        key: The key.
    """
    if (own := _of_primary_key(alias, place)) is not None:
        yield from (found for (found,) in own.of([(key,)], [own.columns]))


def spellings_in_events(alias: str, place: Place, key: str) -> Iterator[str]:
    """Yield the keys of events that are equal to one, and other texts: what somebody has asked for.

    Args:
        alias: Alias of the database.
        place: The table, whose key has one column.
        key: The key.
    """
    if (own := _of_primary_key(alias, place)) is not None:
        log = Change.objects.using(conf.destination()).filter(in_table(place), operation="EVENT").order_by()
        events = log.filter(primary_key__isnull=False).values_list("primary_key").distinct()
        yield from (found for (found,) in own.among(events.iterator(_BATCH), [(key,)]))


def _of_primary_key(alias: str, place: Place) -> Spellings | None:
    name = place.schema, place.table
    with row_session(alias) as cursor:
        table = read_catalog(cursor, dumps([name])).tables.get(name)
    if table is None or table.primary is None or len(table.primary.columns) > 1:
        return None
    own = table.primary.columns
    return Spellings(
        alias, place, Reference("", name, name, own, own, "a", False, False, table.primary.equalities)
    )


def _rows(table: LiveTable, columns: Sequence[str], values: Iterable[tuple[Any, ...]]) -> str:
    return dumps([table.readable(dict(zip(columns, each, strict=True))) for each in values])
