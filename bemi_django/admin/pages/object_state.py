"""The fields of an object: now, with who changed each; at a moment; and compared between two moments."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections, models, router

from bemi_django.admin.access.viewer import MASK, Viewer
from bemi_django.admin.display.actors import Actor, Actors
from bemi_django.admin.display.foreign_keys import referenced_labels
from bemi_django.admin.display.value_diff import Sides, are_alike, differences
from bemi_django.admin.pages.many_to_many import many_to_many_labels
from bemi_django.admin.search.paging import nearest_change
from bemi_django.log.blame import blame
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.keys import models_of
from bemi_django.log.live.row_session import row_session, rows_of
from bemi_django.log.places import place_of
from bemi_django.models import Change
from bemi_django.schema.sql import quote

RowValues = dict[str, Any]


class FieldState(NamedTuple):
    """A field of an object.

    Attributes:
        label: The verbose name of the field.
        sides: The values at the two moments.
        is_changed: Whether the two values differ.
        by: The change that set the present value, and its actor.
        is_pending: Whether the worker has not yet written the change that set the value.
    """

    label: str
    sides: Sides
    is_changed: bool
    by: tuple[Change, Actor] | None = None
    is_pending: bool = False


def template_context(
    viewer: Viewer,
    model: type[models.Model],
    key: str,
    instance: models.Model | None,
    moment: datetime | None,
    other: datetime | None,
) -> dict[str, Any]:
    """Return the template's ``lines`` (fields) and ``existed`` (None for the present).

    Args:
        viewer: The user who sees the page.
        model: The model of the object.
        key: The primary key of the object, as the log writes it.
        instance: The object, or None if it is deleted.
        moment: The moment to show, or None for now.
        other: The moment to compare with, or None to compare nothing.
    """
    alias = router.db_for_write(model)
    now = _live_row(instance, alias) if instance is not None else None
    fields = _Fields(viewer, model, alias, key, exists=instance is not None)
    if moment is None and other is None:
        return {"lines": _current_fields(fields, instance, now), "existed": None}
    # The tables of parent models have rows of the same object.
    tables = models_of(instance) if instance is not None else [model]
    row = _row(viewer, tables, key, now, moment)
    compared = _row(viewer, tables, key, now, other) if other else row
    lines = [line for _, line in fields.lines(row, compared)]
    related = fields.many_to_many(row is not None, moment, compared is not None, other if other else moment)
    return {"lines": [*lines, *related], "existed": row is not None}


class _Fields:
    """The fields of a model with the values of rows."""

    def __init__(
        self, viewer: Viewer, model: type[models.Model], alias: str, key: str, *, exists: bool
    ) -> None:
        self.viewer = viewer
        self._model = model
        self._alias = alias
        self._key = key
        self._exists = exists
        self._fields = {str(field.column): field for field in model._meta.concrete_fields}
        self._schema = place_of(model, alias).schema

    def lines(self, row: RowValues | None, compared: RowValues | None) -> list[tuple[str, FieldState]]:
        """Return pairs of a column and its field for two rows. None stands for a row that did not exist."""
        before, after = row or {}, compared or {}
        columns = [column for column in self._fields if column in before or column in after]
        columns += [column for column in {**before, **after} if column not in self._fields]
        return [(column, self._line(column, before, after)) for column in columns]

    def _line(self, column: str, before: RowValues, after: RowValues) -> FieldState:
        field = self._fields.get(column)
        old, new = before.get(column), after.get(column)
        is_changed = not are_alike(old, new)
        if self.viewer.is_masked(
            self._schema, (field.model if field else self._model)._meta.db_table, column
        ):
            old, new = (MASK if value is not None else None for value in (old, new))
            # The position of a difference would tell something about the values.
            sides = Sides(differences(old, old).before, differences(new, new).after)
        else:
            names = referenced_labels(self.viewer, field, self._alias, (old, new)) if field else {}
            sides = differences(*(names.get(value, value) if names else value for value in (old, new)))
        there = Sides(sides.before if column in before else [], sides.after if column in after else [])
        return FieldState(str(field.verbose_name) if field else column, there, is_changed)

    def many_to_many(
        self, existed: bool, moment: datetime | None, exists: bool, other: datetime | None
    ) -> list[FieldState]:
        """Return the many-to-many fields at two moments."""
        found = []
        for field in self._model._meta.many_to_many:
            sides = [
                many_to_many_labels(self.viewer, field, self._key, self._alias, self._exists, at)
                if exists
                else []
                for exists, at in ((existed, moment), (exists, other))
            ]
            if None not in sides and any(sides):
                old, new = (", ".join(side or []) for side in sides)
                found.append(FieldState(str(field.verbose_name), differences(old, new), old != new))
        return found


def _current_fields(
    fields: _Fields, instance: models.Model | None, now: RowValues | None
) -> list[FieldState]:
    if instance is None or now is None:
        return []
    blamed = blame(instance)
    known = {found.change.pk for found in blamed.values() if found.change}
    # Changes outside the viewer's scope are left out.
    seen = {change.pk: change for change in fields.viewer.changes().filter(pk__in=known)}
    actors = Actors(seen.values())
    found = []
    for column, line in fields.lines(now, now):
        given = blamed.get(column)
        change = seen.get(given.change.pk) if given and given.change else None
        by = (change, actors.actor_of(change)) if change else None
        found.append(line._replace(by=by, is_pending=bool(given and given.is_pending)))
    return found + fields.many_to_many(True, None, True, None)


def _live_row(instance: models.Model, alias: str) -> RowValues:
    """Return the row as the log would have it, including the tables of parent models."""
    row: RowValues = {}
    with row_session(alias) as cursor:
        for table in reversed(models_of(instance)):
            place = place_of(table, alias)
            fields = getattr(table._meta, "pk_fields", [table._meta.pk])
            condition = " AND ".join(f"t.{quote(field.column)} = %s" for field in fields)
            keys = [
                field.get_db_prep_save(getattr(instance, field.attname), connections[alias])
                for field in fields
            ]
            name = f"{quote(place.schema)}.{quote(place.table)}".replace("%", "%%")
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {name} t WHERE {condition}", keys)  # noqa: S608
            for (found,) in rows_of(cursor):
                row |= found
    return row


def _row(
    viewer: Viewer,
    tables: list[type[models.Model]],
    key: str,
    now: RowValues | None,
    moment: datetime | None,
) -> RowValues | None:
    """Return the row at a moment, None if it did not exist, or an empty dict if that is unknown."""
    if moment is None:
        return now
    found: RowValues = {}
    for table in reversed(tables):
        part = _part(viewer.changes().for_model(table), key, now, moment)
        if part is None:
            return None
        found |= part
    return found


def _part(own: ChangeQuerySet, key: str, now: RowValues | None, moment: datetime) -> RowValues | None:
    last = nearest_change(own.filter(committed_at__lte=moment), [key])
    if last is not None:
        return dict(last.after) if last.operation != "DELETE" else None
    following = nearest_change(own.filter(committed_at__gt=moment), [key], is_oldest=True)
    if following is not None:
        return dict(following.before) if following.operation != "CREATE" else None
    return now
