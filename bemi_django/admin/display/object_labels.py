"""The rows that changes are about, as they are now: asked for at once, model by model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.db import DataError, models, router
from django.urls import NoReverseMatch, reverse

from bemi_django.admin.access.logged_models import LoggedModel, LoggedModels, parse_key
from bemi_django.admin.access.viewer import MASK, Viewer
from bemi_django.models import Change


class ObjectLabel(NamedTuple):
    """``url``: the page of the live object. ``timeline``: that of its changes. None: there is none."""

    label: str
    model: str
    url: str | None
    timeline: str | None
    is_deleted: bool


class ObjectLabels:
    """Looks up the objects of some changes."""

    def __init__(self, changes: Iterable[Change], viewer: Viewer, tables: LoggedModels) -> None:
        self._viewer = viewer
        self._places: dict[Any, LoggedModel | None] = {}
        self._live: dict[tuple[LoggedModel, str], models.Model] = {}
        wanted: defaultdict[LoggedModel, set[str]] = defaultdict(set)
        for change in changes:
            place = self._places[change.pk] = tables.model_of(change)
            if place and change.primary_key is not None and viewer.may("view", place.model):
                wanted[place].add(change.primary_key)
        for place, keys in wanted.items():
            self._live |= {(place, key): found for key, found in live_instances(place, keys).items()}

    def of(self, change: Change) -> ObjectLabel:
        """Return the label of the object that a change belongs to."""
        place = self._places.get(change.pk)
        key = self._viewer.key(change)
        if place is None or key is None or key == MASK:
            name = change.table or change.database
            return ObjectLabel(key or "", name if place is None else _name(place.model), None, None, False)
        model = place.model
        found = self._live.get((place, key))
        may_view = self._viewer.may("view", model, found)
        # The admin's own pages are those of the database where the model is written.
        is_home = place.alias == router.db_for_write(model)
        timeline = timeline_url(model, key) if is_home and not model._meta.auto_created else None
        if not may_view:
            return ObjectLabel(key, _name(model), None, None, False)
        if found is None:
            return ObjectLabel(deleted_label(change, place, self._viewer), _name(model), None, timeline, True)
        label = live_label(found, self._viewer, change.schema)
        return ObjectLabel(label, _name(model), _url(found) if is_home else None, timeline, False)


def deleted_label(change: Change, place: LoggedModel, viewer: Viewer) -> str:
    """Return what the model would call a row that no longer exists, from the values in the change."""
    row = viewer.row(change, "before" if change.operation == "DELETE" else "after")
    fields = {field.column: field for field in place.model._meta.concrete_fields}
    try:
        values = {fields[name].attname: fields[name].to_python(row[name]) for name in row.keys() & fields}
        text = str(place.model(**values))
    except Exception:
        # Whatever __str__ of a model wants of other rows, which may be gone, too.
        text = ""
    return text if text and place.model.__str__ is not models.Model.__str__ else str(viewer.key(change))


def live_instances(place: LoggedModel, keys: Iterable[str]) -> dict[str, models.Model]:
    """Return the rows that exist, by the text of their keys."""
    parsed = {key: parse_key(place.model, key) for key in keys}
    values = [value for value in parsed.values() if value is not None]
    try:
        found = place.model._base_manager.using(place.alias).filter(pk__in=values)
        if place.model._meta.auto_created:
            found = found.select_related(*_ends(place.model))
        rows = {row.pk: row for row in found}
    except (DataError, OverflowError):
        # A key of a type that the column had once.
        return {}
    return {key: rows[value] for key, value in parsed.items() if value in rows}


def timeline_url(model: type[models.Model], key: str) -> str:
    """Return the URL of an object's timeline, whether or not the object exists."""
    names = [model._meta.app_label, model._meta.model_name, quote(key)]
    return reverse("admin:bemi_django_change_timeline", args=names)


def _name(model: type[models.Model]) -> str:
    return str(model._meta.verbose_name)


def live_label(instance: models.Model, viewer: Viewer, schema: str = "public") -> str:
    """Return what the model calls an existing row, or its key if the label contains a masked value."""
    if instance._meta.auto_created:
        return " – ".join(str(getattr(instance, name)) for name in _ends(type(instance)))
    text = str(instance)
    table = instance._meta.db_table
    hidden = {
        str(getattr(instance, field.attname, ""))
        for field in instance._meta.concrete_fields
        if viewer.is_masked(schema, table, field.column)
    }
    if any(value and value in text for value in hidden):
        return f"{_name(type(instance))} {instance.pk}"
    return text


def _url(instance: models.Model) -> str | None:
    meta = instance._meta
    try:
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(instance.pk)])
    except NoReverseMatch:
        return None


def _ends(model: type[models.Model]) -> list[str]:
    """Return the names of the two foreign keys of a many-to-many table."""
    return [field.name for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
