"""The changes of an object, and of the rows that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from uuid import UUID

from django.db import models, router
from django.db.models import Q

from bemi_django.log.belongings import Belonging, belongings, members
from bemi_django.log.conditions import as_jsonb, in_span, in_table
from bemi_django.log.identity import RowLog, key_spans
from bemi_django.log.keys import has_logged_key, json_of, key_of, models_of, own_key_fields
from bemi_django.log.live.column_names import ColumnNames
from bemi_django.log.live.name_catalog import names_at
from bemi_django.log.places import Place, alias_of, places_of


def of_object(
    logged: Callable[[Q], RowLog], instance: models.Model, related: bool | Collection[str] = False
) -> Q:
    """Return the condition for changes of one object, under all keys that it had.

    Args:
        logged: Returns all changes that meet a condition.
        instance: A saved or deleted instance.
        related: True to include the rows that refer to the object, or the names of the relations to include.
    """
    own, others, places, alias = _tables_of(instance, related)
    conditions = []
    for model, place in zip(own, places, strict=False):
        here = in_table(place)
        if model is own[0] and not has_logged_key(instance):
            names = names_at({place: model}, alias)[place]
            conditions.append(here & of_belonging(_row_of(instance, model), names))
            continue
        spans = key_spans(logged(here), key_of(instance, model))
        conditions.append(here & reduce(or_, [in_span(span) for span in spans]))
    referring = list(zip(places[len(own) :], others, strict=True))
    named = names_at({place: other.model for place, other in referring}, alias)
    conditions += [in_table(place) & of_belonging(other, named[place]) for place, other in referring]
    return reduce(or_, conditions)


def member_places(instance: models.Model) -> list[Place]:
    """Return the tables of an object's many-to-many fields."""
    alias = instance._state.db or router.db_for_write(instance.__class__)
    return places_of([row.model for row in members(instance)], alias)


def of_members(instance: models.Model) -> Q | None:
    """Return the condition for changes of an object's many-to-many fields; None if it has none."""
    rows = members(instance)
    if not rows:
        return None
    alias = instance._state.db or router.db_for_write(instance.__class__)
    places = places_of([row.model for row in rows], alias)
    named = names_at({place: row.model for place, row in zip(places, rows, strict=True)}, alias)
    found = zip(places, rows, strict=True)
    return reduce(or_, [in_table(place) & of_belonging(row, named[place]) for place, row in found])


def of_belonging(belonging: Belonging, names: ColumnNames) -> Q:
    """Return the condition for changes of rows that belonged to an object before or after them.

    Args:
        belonging: The rows.
        names: The names of their table's columns. A column is followed to those that no other one has had.
    """
    values = map(as_jsonb, names.under_own(belonging.values))
    return reduce(or_, [Q(before__contains=each) | Q(after__contains=each) for each in values])


def last_key(changes: models.QuerySet[Any], instance: models.Model, place: Place) -> str | None:
    """Return the key that the log has of an object's row, by its last change; None if it has none.

    Args:
        changes: All changes.
        instance: The object, whose model has the table.
        place: The table.
    """
    if has_logged_key(instance):
        return key_of(instance)
    model = instance._meta.concrete_model or instance.__class__
    names = names_at({place: model}, alias_of(place.database))[place]
    own = changes.filter(in_table(place) & of_belonging(_row_of(instance, model), names))
    found: str | None = own.order_by("-id").values_list("primary_key", flat=True).first()
    return found


def _row_of(instance: models.Model, model: type[models.Model]) -> Belonging:
    """Return the row of an object, by what its model calls its key."""
    fields = own_key_fields(model)
    return Belonging(model, {str(f.column): json_of(f, getattr(instance, f.attname)) for f in fields})


def places_of_object(instance: models.Model, related: bool | Collection[str] = False) -> list[Place]:
    """Return the tables of which :func:`of_object` asks for changes."""
    return _tables_of(instance, related)[2]


def _tables_of(
    instance: models.Model, related: bool | Collection[str]
) -> tuple[list[type[models.Model]], list[Belonging], list[Place], str]:
    alias = instance._state.db or router.db_for_write(instance.__class__)
    own = models_of(instance)
    names = None if related is True else related or ()
    others = belongings(instance, names) if related else []
    return own, others, places_of([*own, *(other.model for other in others)], alias), alias


class TableLog(NamedTuple):
    """All changes of a table."""

    changes: models.QuerySet[Any]

    def moves(self, key: str) -> list[Any]:
        """Return the changes by which a row came to a key or left it, the newest first, unless diverged."""
        touching = self.changes.filter(Q(primary_key=key) | Q(previous_primary_key=key), diverged=False)
        return list(touching.filter(previous_primary_key__isnull=False).order_by("-id"))

    def is_used_after(self, key: str, change_id: UUID) -> bool:
        """Return whether a later change is of a row with this key."""
        later = self.changes.filter(primary_key=key, id__gt=change_id)
        return later.exclude(operation__in=("EVENT", "ERASED")).exists()

    def between(self, key: str, start: UUID, end: UUID) -> list[Any]:
        """Return the changes between two, the oldest first, that rows with this key have kept it in."""
        kept = self.changes.filter(primary_key=key, previous_primary_key__isnull=True, diverged=False)
        return list(kept.filter(id__gt=start, id__lt=end).order_by("id"))
