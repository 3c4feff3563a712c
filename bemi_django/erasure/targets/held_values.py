"""What refers to an object, to be looked up for many rows: by Python, and by PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import BooleanField, F, Func, Q
from django.db.models.functions import Coalesce

from bemi_django.log.conditions import Differs, as_jsonb, value_of
from bemi_django.log.lossless_json import dumps

#: So many values are asked for one by one: an index on values of rows, if there is one, has them.
_FEW = 8

# Equal numbers may be printed with more or fewer zeros. The length of a text depends on the encoding.
_KEY = """CASE pg_catalog.jsonb_typeof({value})
    WHEN 'number' THEN pg_catalog.concat('n', pg_catalog.trim_scale(
        ({value} OPERATOR(pg_catalog.#>>) '{{}}'::pg_catalog.text[])::pg_catalog.numeric), ';')
    ELSE {value}::pg_catalog.text END"""
_IS_ONE = "pg_catalog.jsonb_build_array({columns}) OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.jsonb[])"
# The times are looked up by values, and not one after the other.
_IS_IN_TIME = """EXISTS (
    SELECT FROM pg_catalog.jsonb_array_elements(
        %s::pg_catalog.jsonb OPERATOR(pg_catalog.->) pg_catalog.concat({keys})) t (bounds)
    CROSS JOIN LATERAL (SELECT (t.bounds OPERATOR(pg_catalog.->>) 0)::pg_catalog.uuid,
                               (t.bounds OPERATOR(pg_catalog.->>) 1)::pg_catalog.uuid) b (since, until)
    WHERE COALESCE({id} OPERATOR(pg_catalog.>=) b.since, true)
        AND COALESCE({id} OPERATOR(pg_catalog.<) b.until, true))"""


class During(NamedTuple):
    """Values that refer to an object from a change on, and before another one, as ids; None for no bound.

    They refer to a row that belonged to the object then. ``side`` is that of changes for which this holds,
    ``""`` for both. What a change has left as it was refers after it to what it has referred to before it.
    """

    values: Mapping[str, Any]
    start: UUID | None = None
    end: UUID | None = None
    side: str = ""

    def includes(self, change: UUID) -> bool:
        """Return whether a change is within the time."""
        return (self.start is None or change >= self.start) and (self.end is None or change < self.end)


class HeldValues:
    """Values that refer to an object, by the rows that have them.

    Args:
        values: The values.
    """

    def __init__(self, values: Iterable[During]) -> None:
        self._found: dict[tuple[str, ...], dict[tuple[Any, ...], list[During]]] = {}
        for each in values:
            known = self._found.setdefault(tuple(each.values), {})
            known.setdefault(comparable(each.values.values()), []).append(each)

    def of(self, image: Mapping[str, Any]) -> Iterator[During]:
        """Yield those that a row has."""
        for columns, known in self._found.items():
            if all(column in image for column in columns):
                yield from known.get(comparable(image[column] for column in columns), ())


class _HoldsOneOf(Func):
    """Whether a side of a change has one of many values, in the time of each."""

    output_field = BooleanField()

    def __init__(self, side: str, columns: tuple[str, ...], held: Iterable[During]) -> None:
        super().__init__(F("pk"), *(value_of(side, column) for column in columns))
        self._held = list(held)

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return the statement, which compares each value once."""
        id, *columns = (compiler.compile(each) for each in self.source_expressions)
        of_columns = [parameter for _, parameters in columns for parameter in parameters]
        values = [dumps(list(each.values.values())) for each in self._held]
        sql = _IS_ONE.format(columns=", ".join(sql for sql, _ in columns))
        given = [*of_columns, values]
        if any(each.start is not None or each.end is not None for each in self._held):
            times: dict[str, list[Any]] = {}
            for each in self._held:
                key = "".join(map(_key, each.values.values()))
                times.setdefault(key, []).append([_text(each.start), _text(each.end)])
            keys = [
                (_KEY.format(value=sql), [*parameters] * _KEY.count("{value}")) for sql, parameters in columns
            ]
            sql = f"({sql} AND {_IS_IN_TIME.format(keys=', '.join(sql for sql, _ in keys), id=id[0])})"
            given += [dumps(times), *(one for _, parameters in keys for one in parameters), *id[1], *id[1]]
        return f"({sql})", given


def _key(value: Any) -> str:
    """Return what PostgreSQL makes of a value, too, to look up its times."""
    if isinstance(value, (str, bool)):
        return dumps(value)
    # normalize() would round it.
    digits = f"{Decimal(str(value)):f}"
    return f"n{digits.rstrip('0').rstrip('.') if '.' in digits else digits};"


def holding_any(side: str, held: Iterable[During], *, is_kept: bool | None = None) -> Q:
    """Return the condition for changes whose ``before`` or ``after`` has one of some values, in its time.

    Args:
        side: ``"before"`` or ``"after"``.
        held: The values; ``side`` of them does not count.
        is_kept: Whether the change has left the value as it was; None for both.
    """
    by_columns: defaultdict[tuple[str, ...], list[During]] = defaultdict(list)
    for each in held:
        by_columns[tuple(each.values)].append(each)
    found = Q(pk__in=[])
    for columns, rows in by_columns.items():
        is_plain = not any(isinstance(value, (dict, list)) for each in rows for value in each.values.values())
        if len(rows) > _FEW and is_plain:
            one = Q(_HoldsOneOf(side, columns, rows))
        else:
            one = reduce(or_, (_in_time(each) & holding(side, each.values) for each in rows))
        if is_kept is not None:
            differs = reduce(or_, (Q(Differs(column)) for column in columns))
            one &= ~differs if is_kept else differs
        found |= one
    return found


def _in_time(held: During) -> Q:
    start = Q() if held.start is None else Q(pk__gte=held.start)
    return start if held.end is None else start & Q(pk__lt=held.end)


class _IsSame(Func):
    """Whether two values of jsonb are equal."""

    template = "(%(expressions)s)"
    arg_joiner = " OPERATOR(pg_catalog.=) "
    output_field = BooleanField()


def holding(side: str, values: Mapping[str, Any]) -> Q:
    """Return the condition for changes whose ``before`` or ``after`` has values.

    Args:
        side: ``"before"`` or ``"after"``.
        values: The values by column.
    """
    wanted = as_jsonb(values)
    condition = Q(**{f"{side}__contains": wanted})
    for column, value in values.items():
        if isinstance(value, (dict, list)):
            # It may contain others.
            condition &= Q(Coalesce(_IsSame(value_of(side, column), value_of(wanted, column)), False))
    return condition


def joined(values: Iterable[Any], more: Iterable[Any]) -> list[Any]:
    """Return values, and those of others that are not among them."""
    return list({dumps(_plain(each)): each for each in (*values, *more)}.values())


def _plain(value: Any) -> Any:
    return (
        [value.values, _text(value.start), _text(value.end), value.side]
        if isinstance(value, During)
        else value
    )


def comparable(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return values of JSON as one by which they can be looked up."""
    return tuple(dumps(value) if isinstance(value, (dict, list)) else value for value in values)


def _text(id: UUID | None) -> str | None:
    return None if id is None else str(id)
