"""Label and link the objects that changes are about. Objects are fetched with one query per model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.db import InterfaceError, OperationalError, models, router

from bemi_django.admin.access.logged_models import LoggedModel, parse_key
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.rows.readable_parts import readable_parts
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.instance_labels import guarded, instance_key, instance_labels, instance_texts
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


class ObjectLabels:
    """The labels of the objects of some changes."""

    def __init__(self, changes: Iterable[Change], viewer: Viewer) -> None:
        self._viewer = viewer
        self._models: dict[Any, LoggedModel | None] = {}
        self._live: dict[_Row, models.Model] = {}
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
        found = live_instances(logged, by_key, self._viewer)
        self._live |= {(logged, key): instance for key, instance in found.items()}
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
        found = self._live.get((logged, str(change.primary_key)))
        if not self._viewer.may("view", model, found):
            return ObjectLabel(key, _name(model), None, None, False)
        # Pages of the admin show the database that the model is written to.
        is_linked = logged.alias == router.db_for_write(model) and key != MASK
        timeline = (
            timeline_url(self._viewer, model, key) if is_linked and not model._meta.auto_created else None
        )
        label = self._labels.get(change.pk, key)
        if found is None:
            return ObjectLabel(label, _name(model), None, timeline, True)
        url = self._viewer.model_url(model, "change", quote(found.pk)) if is_linked else None
        return ObjectLabel(label, _name(model), url, timeline, False)


def live_instances(
    logged: LoggedModel, keys: Iterable[str], viewer: Viewer | None = None
) -> dict[str, models.Model]:
    """Return the rows that exist, by their primary keys as the log writes them.

    Args:
        logged: The model of the rows, and the database that has them.
        keys: The keys.
        viewer: The user who sees labels of the rows: what these need is read along, as the list of the
            model's admin does.
    """
    parsed = {key: parse_key(logged.model, key) for key in keys}
    rows = _rows(logged, [value for value in parsed.values() if value is not None], viewer)
    if viewer is not None:
        viewer.learn_rows(rows.values())
    return {key: rows[value] for key, value in parsed.items() if value in rows} if rows else {}


def _rows(logged: LoggedModel, keys: list[Any], viewer: Viewer | None) -> dict[Any, models.Model]:
    plain = whole = logged.model._base_manager.using(logged.alias)
    if logged.model._meta.auto_created:
        whole = whole.select_related(*_ends(logged.model))
    elif viewer is not None:
        whole = with_related(whole, viewer)
    rows: dict[Any, models.Model] = {}
    for part, found in readable_parts(keys, partial(_by_key, whole)):
        if found is None and not logged.model._meta.auto_created:
            # One of them has a value that cannot be read, but is there all the same.
            found = _by_key(plain.only("pk"), part)
        rows |= found or {}
    return rows


def _by_key(rows: models.QuerySet[Any], keys: Sequence[Any]) -> dict[Any, models.Model] | None:
    """Return rows by their keys, or None if one cannot be read."""
    try:
        with guarded(rows.db):
            return {row.pk: row for row in rows.filter(pk__in=keys)}
    except (InterfaceError, OperationalError):
        raise
    except Exception:
        # The column may have had another type when the key was logged, the year may be one that Python does
        # not have, and a field of the project may expect anything of its values.
        return None


def with_related(rows: models.QuerySet[Any], viewer: Viewer) -> models.QuerySet[Any]:
    """Return rows with the relations of ``list_select_related`` of their model's admin."""
    registered = viewer.site._registry.get(rows.model)
    if registered is None:
        return rows
    try:
        names = registered.get_list_select_related(viewer.request)
        found = rows.select_related() if names is True else rows.select_related(*(names or ()))
        str(found.query)
    except Exception:
        # Code of the project, which expects another request; or a name that is no relation.
        return rows
    return found


def live_labels(instances: list[models.Model], viewer: Viewer) -> list[str]:
    """Return labels of existing rows of one model; a many-to-many row is labelled by its two ends."""
    if not instances or not instances[0]._meta.auto_created:
        return instance_labels(instances, viewer)
    ends = [
        _end_labels([getattr(row, name) for row in instances], viewer) for name in _ends(type(instances[0]))
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


def _ends(model: type[models.Model]) -> list[str]:
    """Return the names of the two foreign keys of a many-to-many table."""
    return [field.name for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
