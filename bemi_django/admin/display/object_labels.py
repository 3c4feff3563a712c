"""Label and link the objects that changes are about. Objects are fetched with one query per model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.db import models, router
from django.utils.http import urlencode

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.rows.live_rows import ends_of, live_rows
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.instance_labels import instance_key, instance_labels, instance_texts
from bemi_django.models import Change

#: The key that is an empty text, in addresses: no other key is quoted so.
EMPTY_KEY = "_"
#: A row: its model and its primary key, as the log writes it.
_Row = tuple[LoggedModel, str]


class ObjectLabel(NamedTuple):
    """How a page shows an object.

    Attributes:
        label: The object's label, or its key.
        model: The name of its model, or its table.
        url: The admin page of the object, or None.
        timeline: The page of the object's history, or None.
        is_deleted: Whether the object is deleted.
    """

    label: str
    model: str
    url: str | None
    timeline: str | None
    is_deleted: bool

    @property
    def noun(self) -> str:
        """The name of the model, if it is to be said before the label."""
        return noun_before(self.label, self.model)


class ObjectLabels:
    """The labels of the objects of some changes."""

    def __init__(self, changes: Iterable[Change], viewer: Viewer) -> None:
        self._viewer = viewer
        self._models: dict[Any, LoggedModel | None] = {}
        self._live: dict[_Row, models.Model] = {}
        self._unread: dict[_Row, models.Model] = {}
        self._labels: dict[Any, str] = {}
        wanted: defaultdict[LoggedModel, dict[str, list[Change]]] = defaultdict(lambda: defaultdict(list))
        changes = list(changes)
        places = {change.place for change in changes}
        viewer.masks.learn_keys(places)
        viewer.lifted.learn_keys(places)
        for change in changes:
            logged = self._models[change.pk] = viewer.logged_models.model_of(change)
            if logged and change.primary_key is not None and viewer.may("view", logged.model):
                wanted[logged][change.primary_key].append(change)
        for logged, by_key in wanted.items():
            self._add(logged, by_key)

    def _add(self, logged: LoggedModel, by_key: dict[str, list[Change]]) -> None:
        found, unread = live_rows(logged, by_key, self._viewer)
        self._live |= {(logged, key): instance for key, instance in found.items()}
        self._unread |= {(logged, key): instance for key, instance in unread.items()}
        for key, label in zip(found, live_labels(list(found.values()), self._viewer), strict=True):
            self._labels |= {change.pk: label for change in by_key[key]}
        gone = [change for key, changes in by_key.items() if key not in found for change in changes]
        labels = deleted_labels(gone, logged, self._viewer)
        self._labels |= {change.pk: label for change, label in zip(gone, labels, strict=True)}

    def of(self, change: Change) -> ObjectLabel:
        """Return the label of a change's object."""
        logged = self._models.get(change.pk)
        key = self._viewer.key(change)
        if logged is None or key is None:
            name = change.table or change.database
            return ObjectLabel(key or "", name if logged is None else _name(logged.model), None, None, False)
        model = logged.model
        row = logged, str(change.primary_key)
        found, unread = self._live.get(row), self._unread.get(row)
        if not self._viewer.may("view", model, unread if found is None else found):
            return ObjectLabel(key, _name(model), None, None, False)
        # Pages of the admin show the database that the model is written to.
        is_linked = logged.alias == router.db_for_write(model) and key != MASK
        timeline = (
            timeline_url(self._viewer, model, key) if is_linked and not model._meta.auto_created else None
        )
        label = self._labels.get(change.pk, key)
        if found is None:
            return ObjectLabel(label, _name(model), None, timeline, unread is None)
        url = self._viewer.model_url(model, "change", quote(found.pk)) if is_linked else None
        return ObjectLabel(label, _name(model), url, timeline, False)


def noun_before(label: str, noun: str) -> str:
    """Return what an object is called before its label: nothing if that says it already, as "Order 12"."""
    first, rest = label[: len(noun)], label[len(noun) :]
    return "" if noun and first.casefold() == noun.casefold() and rest[:1].isspace() else noun


def live_labels(instances: list[models.Model], viewer: Viewer) -> list[str]:
    """Return labels of existing rows of one model; a many-to-many row is labelled by its two ends."""
    if not instances or not instances[0]._meta.auto_created:
        return instance_labels(instances, viewer)
    ends = [
        _end_labels([getattr(row, name) for row in instances], viewer) for name in ends_of(type(instances[0]))
    ]
    return [" – ".join(labels) for labels in zip(*ends, strict=True)]


def deleted_labels(changes: list[Change], logged: LoggedModel, viewer: Viewer) -> list[str]:
    """Return labels of deleted rows of one model, by their values in the changes."""
    instances = {change.pk: _instance(change, logged, viewer) for change in changes}
    built = {pk: instance for pk, instance in instances.items() if instance is not None}
    texts = dict(zip(built, instance_texts(list(built.values()), viewer), strict=True))
    return [texts.get(change.pk) or str(viewer.key(change)) for change in changes]


def timeline_url(viewer: Viewer, model: type[models.Model], key: str) -> str:
    """Return the URL of the history of an object, which may be deleted."""
    return viewer.url("timeline", model._meta.app_label, model._meta.model_name, quote(key) or EMPTY_KEY)


def field_page(timeline: str, column: str) -> str:
    """Return the URL of the history of one field of the object whose history has a URL."""
    return f"{timeline}?{urlencode({'field': column})}"


def _instance(change: Change, logged: LoggedModel, viewer: Viewer) -> models.Model | None:
    row = viewer.row(change, "before" if change.operation == "DELETE" else "after")
    fields = {field.column: field for field in logged.model._meta.concrete_fields}
    hidden = viewer.masked_columns(change)
    try:
        values = {
            fields[name].attname: row[name] if name in hidden else fields[name].to_python(row[name])
            for name in row.keys() & fields
        }
        instance = logged.model(**values)
    except Exception:
        # The values are those of another time, when the fields may have been others.
        return None
    instance._state.db = logged.alias
    return instance


def _end_labels(ends: list[models.Model], viewer: Viewer) -> list[str]:
    viewer.learn_rows(ends)
    model = type(ends[0])
    seen = [end for end in ends if viewer.may("view", model) and viewer.may("view", model, end)]
    labels = dict(zip(map(id, seen), instance_labels(seen, viewer), strict=True))
    return [labels.get(id(end)) or instance_key(end, viewer) for end in ends]


def _name(model: type[models.Model]) -> str:
    return str(model._meta.verbose_name)
