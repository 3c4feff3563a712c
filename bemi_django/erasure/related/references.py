"""What refers to rows of an object: columns, and the values that they had."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import reduce
from itertools import product
from operator import or_
from typing import Any, NamedTuple

from django.db.models import F, Q
from django.db.models.functions import Coalesce

from bemi_django import conf
from bemi_django.erasure.related.reused import Holding, of_key, times_of
from bemi_django.erasure.related.spellings import Spellings
from bemi_django.erasure.targets.held_values import During, holding, joined
from bemi_django.erasure.targets.shared_rows import own_times
from bemi_django.erasure.targets.shared_values import SharedValues
from bemi_django.erasure.targets.target import Target, may_be_key, values_of_key
from bemi_django.log.conditions import in_table, value_of
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import Place, model_of
from bemi_django.models import Change


class BelongingColumns(NamedTuple):
    """Columns of a table by which its rows refer to others.

    ``is_owned``: they are deleted with them. ``is_to_key``: they refer to the key of a row, by which the row
    is known, and not to other columns, or to a part of the key.
    """

    child: Place
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    is_owned: bool
    is_to_key: bool
    spellings: Spellings | None = None


class ReferringValues(NamedTuple):
    """What columns have that refers to an object: all of the time, or during some."""

    values: tuple[dict[str, Any], ...]
    during: tuple[During, ...]


def belonging_values(parent: Target, reference: BelongingColumns, shared: Collection[str]) -> ReferringValues:
    """Return the values that rows had which refer to a parent, by all names that their columns had.

    What refers to rows of the parent that were of others as well counts for the times in which they were of
    the object. So does what refers to a key of the object that others had before it, or have had since.

    Args:
        parent: The parent.
        reference: The columns.
        shared: The keys of rows of the parent that were of others as well.
    """
    children = list(named_columns(reference.child, reference.columns))
    if (parent.values or parent.during) and not reference.is_to_key:
        return _by_value(parent, reference, children)
    lasting, during = [], list(_times_of_shared(parent, reference, shared))
    for value in _seen(parent, reference, shared):
        times = _times(parent, reference, value)
        if times == [Holding()]:
            lasting.append(value)
        else:
            referring = list(_referring(reference, [value], children))
            during += [During(values, *time) for time, values in product(times, referring)]
    return ReferringValues(tuple(_referring(reference, lasting, children)), tuple(during))


def _by_value(
    parent: Target, reference: BelongingColumns, children: Collection[tuple[str, ...]]
) -> ReferringValues:
    """Return what refers to other columns of rows than their keys, whose values others may get as well."""
    names = list(named_columns(parent.place, reference.parent_columns))
    found = SharedValues(parent, names, _seen(parent, reference, ()))
    during = [
        During(values, *time)
        for value, time in found.times()
        for values in _referring(reference, [value], children)
    ]
    return ReferringValues(tuple(_referring(reference, found.lasting, children)), tuple(during))


def _times_of_shared(
    parent: Target, reference: BelongingColumns, shared: Collection[str]
) -> Iterator[During]:
    parents = list(named_columns(parent.place, reference.parent_columns))
    children = list(named_columns(reference.child, reference.columns))
    for time in own_times(parent, shared):
        found: list[tuple[Any, ...]] = []
        for names, image in product(parents, time.images):
            values = tuple(image.get(name) for name in names)
            if None not in values and values not in found:
                found.append(values)
        for referring in _referring(reference, found, children):
            yield During(referring, *time[:3])


def _seen(parent: Target, reference: BelongingColumns, shared: Collection[str]) -> list[tuple[Any, ...]]:
    found = joined(_values_of_keys(parent, reference, shared), _logged_values(parent, reference, shared))
    return [values for values in found if None not in values]


def _referring(
    reference: BelongingColumns, seen: list[tuple[Any, ...]], children: Collection[tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    """Yield values, and other spellings of them, by all names of the columns that have them."""
    if reference.spellings is not None:
        seen = [*seen, *dict.fromkeys(reference.spellings.of(list(seen), children))]
    for values in seen:
        yield from (dict(zip(columns, values, strict=True)) for columns in children)


def _times(parent: Target, reference: BelongingColumns, value: tuple[Any, ...]) -> list[Holding]:
    """Return when a parent had a value that rows refer to."""
    if parent.values or parent.during:
        return [Holding()]
    having = Q(pk__in=[])
    for names in named_columns(parent.place, reference.parent_columns):
        each = dict(zip(names, value, strict=True))
        having |= holding("before", each) | holding("after", each)
    if reference.is_to_key and len(value) == 1:
        # An index has the keys. Whether a text is printed in quotes depends on its type.
        having &= reduce(
            or_, map(of_key, {dumps(value[0]), *filter(lambda one: isinstance(one, str), value)})
        )
    return times_of(parent, having)


def _logged_values(
    parent: Target, reference: BelongingColumns, shared: Collection[str]
) -> Iterator[tuple[Any, ...]]:
    log = Change.objects.using(conf.destination()).filter(parent.condition).order_by()
    former = Coalesce("previous_primary_key", "primary_key")
    for names in named_columns(parent.place, reference.parent_columns):
        for side, key in (("before", former), ("after", F("primary_key"))):
            columns = {f"value_{number}": value_of(side, name) for number, name in enumerate(names)}
            # A row had another key before, or has another one since, in which it is no other's.
            own = log.alias(key_then=key).filter(Q(key_then__isnull=True) | ~Q(key_then__in=shared))
            yield from own.annotate(**columns).values_list(*columns).distinct()


def named_columns(place: Place, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield columns by their present names, and by those that they had."""
    names = column_names(place, model_of(place))
    return product(*(names.own(column) for column in columns))


def _values_of_keys(
    parent: Target, reference: BelongingColumns, shared: Collection[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield the values of the keys that the parent had, of whatever type, also if no change of it is left."""
    if not parent.spans or len(reference.columns) > 1 or not reference.is_to_key:
        return
    log = Change.objects.using(conf.destination())
    is_known = log.filter(parent.condition).exists()
    referring = None if is_known else log.filter(in_table(reference.child))
    names = [name for (name,) in named_columns(reference.child, reference.columns)]
    for span in (span for span in parent.spans if span.key not in shared):
        for value in values_of_key(span.key, parent.texts, referring, names):
            if not is_known or may_be_key(log, parent, span.key, value):
                yield (value,)
