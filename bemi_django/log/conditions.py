"""Conditions on rows of the log, as Django's ``Q`` objects; the vocabulary of ``ChangeQuerySet``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import ExpressionWrapper, Func, Q, Value
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from bemi_django import conf
from bemi_django.log.fields import RowField
from bemi_django.log.identity import KeySpan
from bemi_django.log.keys import prepares_for_drivers, stored_value
from bemi_django.log.places import Place
from bemi_django.log.values.field_columns import values_by_column
from bemi_django.log.values.json_values import (
    contained,
    contained_in_context,
    contained_user,
    plain,
)
from bemi_django.log.values.value_forms import forms_of

#: What stands for a part in the name of an endpoint: ``<id>``, as changes are counted, or as a route has it.
_PART_OF_ENDPOINT = re.compile(r"/<([^<>/]+)>")
#: What stands for anything that follows.
_ANYTHING = "*"
#: Under this name, ``unavailable`` has the side of a change that was erased, unless both were.
ERASED_SIDES = "erased_sides"
_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
#: The keys that are counted as ``<id>``.
_KEYS = f"([0-9]+|{_UUID}|[0-9a-fA-F]{{16,}})"
#: What the converters of a route take; others take anything but a slash.
_CONVERTERS = {"int:": "[0-9]+", "uuid:": _UUID, "path:": ".+"}


class HasKey(Func):
    """Whether ``before``, ``after`` or ``context`` has a key, or a list of names a name.

    Django's ``has_key`` looks the operator up in the search path, with a second operand of no type.
    """

    template = "%(expressions)s"
    arg_joiner = " OPERATOR(pg_catalog.?) "
    output_field = models.BooleanField()

    def __init__(self, side: str | Func, key: str) -> None:
        super().__init__(side, _text(key))


class Differs(Func):
    """Compare the values of a column in ``before`` and ``after``."""

    template = "%(expressions)s"
    arg_joiner = " IS DISTINCT FROM "
    output_field = models.BooleanField()

    def __init__(self, column: str) -> None:
        super().__init__(value_of("before", column), value_of("after", column))


def value_of(side: str | Cast, column: str) -> Func:
    """Return an expression for the value that a column has in ``before`` or ``after``, or in an object."""
    return Func(side, _text(column), function="pg_catalog.jsonb_object_field", output_field=RowField())


def _text(value: str) -> Cast:
    return Cast(Value(value, output_field=models.TextField()), models.TextField())


def outside() -> Q:
    """Return the condition for changes made without a hook of ours. It is that of a partial index."""
    return Q(HasKey("context", "db_user")) | Q(context={})


def at_endpoint(endpoint: str) -> Q:
    """Return the condition for changes made at an endpoint, or by a route.

    ``<id>`` stands for a key that is a number, a UUID or hexadecimal, ``<int:pk>`` or ``<slug>`` for what a
    route takes in its place, and ``*`` at the end for anything that follows.
    """
    condition = Q(context__contains={"endpoint": endpoint}) | Q(context__contains={"route": endpoint})
    if is_one_endpoint(endpoint):
        return condition
    begin, is_open = endpoint.removesuffix(_ANYTHING), endpoint.endswith(_ANYTHING)
    parts = _PART_OF_ENDPOINT.split(begin)
    pattern = "".join(f"/{_taken_by(part)}" if n % 2 else re.escape(part) for n, part in enumerate(parts))
    condition |= _matches("endpoint", f"^{pattern}{'' if is_open else '$'}")
    return condition | _matches("route", f"^{re.escape(begin)}") if is_open else condition


def _taken_by(part: str) -> str:
    """Return the pattern of what a part of a route takes, given without its brackets."""
    converter, colon, _name = part.partition(":")
    return _KEYS if part == "id" else _CONVERTERS.get(converter + colon, "[^/]+")


def _matches(key: str, pattern: str) -> Q:
    """Return the condition for contexts that match a pattern under a key; it is not NULL without the key."""
    found = ExpressionWrapper(Q(**{f"context__{key}__regex": pattern}), models.BooleanField())
    return Q(Coalesce(found, False))


def is_one_endpoint(endpoint: str) -> bool:
    """Return whether nothing in the text of an endpoint stands for anything else."""
    return not endpoint.endswith(_ANYTHING) and _PART_OF_ENDPOINT.search(endpoint) is None


def bookkeeping() -> Q:
    """Return the condition for records of Django (``BEMI_BOOKKEEPING_TABLES``) that the application wrote."""
    condition = Q(pk__in=[])
    for pattern in conf.bookkeeping_tables():
        schema, _, table = pattern.rpartition(".")
        condition |= _named("schema", schema) & _named("table", table)
    # Whoever changes them behind the application's back is not keeping records.
    return condition & ~outside()


def in_places(places: Iterable[Place]) -> Q:
    """Return the condition for changes of tables; without any, no change matches."""
    tables: dict[tuple[str, str], set[str]] = {}
    for database, schema, table in places:
        tables.setdefault((database, schema), set()).add(table)
    condition = Q(pk__in=[])
    for (database, schema), found in tables.items():
        condition |= Q(database=database, schema=schema, table__in=sorted(found))
    return condition


def _named(column: str, pattern: str) -> Q:
    if pattern == "*":
        return Q()
    if "*" not in pattern and "?" not in pattern:
        return Q(**{column: pattern})
    wild = re.escape(pattern).replace("\\*", ".*").replace("\\?", ".")
    return Q(**{f"{column}__regex": f"^{wild}$"})


def as_jsonb(values: Mapping[str, Any]) -> Cast:
    """Return values of any type as jsonb, in the form that the log has them."""
    return Cast(Value(contained(values), output_field=models.TextField()), models.JSONField())


def in_row(side: str, values: Mapping[str, Any], model: type[models.Model] | None = None) -> Q:
    """Return the condition for changes whose ``before`` or ``after`` has values of any type.

    Args:
        side: ``"before"`` or ``"after"``.
        values: Values by column, or by field of the model.
        model: The model of the rows, if it is known. A value may be whatever its field takes.

    Raises:
        TypeError: A value is an expression, or a query.
        ValueError: A value does not have the parts of a field with several columns.
    """
    concrete = model._meta.concrete_fields if model is not None else ()
    fields = {field.column: field for field in concrete}
    zone = timezone.get_default_timezone()
    condition = _contains(side, [contained({})]) if not values else Q()
    for column, value in values_by_column(values, model):
        field = fields.get(column)
        # JSON has values of all types in one column, and tells them apart.
        forms = [value] if isinstance(field, models.JSONField) else forms_of(value, zone)
        texts = (contained({column: form}) for form in (*_stored(field, value), *forms))
        condition &= _contains(side, dict.fromkeys(texts))
    return condition


def _stored(field: Any, value: Any) -> Iterator[Any]:
    """Yield what a field makes of a value it takes. Django's field of moments would warn of naive ones."""
    if field is None or value is None:
        return
    kind = type(field)
    if kind.get_prep_value is not models.DateTimeField.get_prep_value or prepares_for_drivers(kind):
        with suppress(ArithmeticError, AttributeError, TypeError, ValueError, ValidationError):
            yield stored_value(field, plain(value))


def changed(columns: Iterable[str]) -> Q:
    """Return the condition for updates that gave one of the columns another value, stored or not."""
    columns = list(columns)
    found = [Q(Differs(one), *(HasKey(side, one) for side in ("before", "after"))) for one in columns]
    named = value_of("unavailable", "changed")
    unseen = [Q(Coalesce(HasKey(named, one), False)) for one in columns]
    return reduce(or_, [*found, *unseen])


def in_context(values: Mapping[str, Any]) -> Q:
    """Return the condition for changes whose context contains values of any type."""
    return _contains("context", contained_in_context(values))


def by_user(user: Any) -> Q:
    """Return the condition for changes made by a user: an instance, or its primary key in any form."""
    return _contains("context", contained_user(user))


def _contains(side: str, texts: Iterable[str]) -> Q:
    values = (Cast(Value(text, output_field=models.TextField()), models.JSONField()) for text in texts)
    return reduce(or_, [Q(**{f"{side}__contains": value}) for value in values])


def in_table(place: Place) -> Q:
    """Return the condition for changes of a table."""
    return Q(database=place.database, schema=place.schema, table=place.table)


def is_erased() -> Q:
    """Return the condition for changes whose values were erased."""
    return Q(Coalesce(HasKey("unavailable", "erased"), False))


def with_key(primary_key: str) -> Q:
    """Return the condition for changes of rows that have or had a key, in the log's notation."""
    return Q(primary_key=primary_key) | Q(previous_primary_key=primary_key)


def in_span(span: KeySpan) -> Q:
    """Return the condition for a row's changes under a key."""
    found = Q(primary_key=span.key)
    if span.start is not None:
        found &= Q(id__gt=span.start) if span.is_open else Q(id__gte=span.start)
    if span.end is not None:
        found &= Q(id__lt=span.end)
    return found & ~Q(id__in=span.others) if span.others else found
