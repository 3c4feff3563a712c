"""Find objects by the names that people search for, with the ``search_fields`` of their models' admins."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.contrib.admin import ModelAdmin
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models, transaction
from django.db.models.constants import LOOKUP_SEP
from django.utils.http import urlencode

from bemi_django.admin.access.rows.live_rows import with_related
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.instance_labels import instance_labels
from bemi_django.admin.display.object_labels import timeline_url
from bemi_django.admin.search.paging import nearest_change
from bemi_django.log.keys import key_of

#: Objects of a model that are offered.
_OFFERED = 3
#: Characters that are searched for: a single one is in every name.
_SHORTEST, _LONGEST = 2, 100
#: Time for one model (ms), and time after which no other model is begun (seconds).
_TIMEOUT = 150
_BUDGET = 0.3


class FoundObject(NamedTuple):
    """An object: its label, and the page of its history."""

    label: str
    url: str


class FoundObjects(NamedTuple):
    """Objects of one model.

    Attributes:
        name: The plural name of the model.
        objects: Some of them.
        more: The list of the model's admin with all of them, or None if there are no others.
    """

    name: str
    objects: list[FoundObject]
    more: str | None


def found_objects(text: str, viewer: Viewer) -> list[FoundObjects]:
    """Return objects that the lists of the admin find for a text, of models that the viewer may view.

    Models are searched one after the other for as long as there is time. A model with a search that fails, or
    takes too long, has no objects.

    Args:
        text: The text, as it would be typed into the search of the admin.
        viewer: The user who searches.
    """
    found: list[FoundObjects] = []
    if "\0" in text or not _SHORTEST <= len(text) <= _LONGEST:
        return found
    deadline = time.monotonic() + _BUDGET
    for registered in _searchable(viewer):
        if time.monotonic() > deadline:
            break
        try:
            objects = _objects_of(registered, text, viewer)
        except Exception:
            # Code of the project, which may expect another request; or the query was cancelled.
            continue
        if objects is not None:
            found.append(objects)
    return found


def _searchable(viewer: Viewer) -> Iterator[Any]:
    """Yield the admins of models that can be searched: those of logged tables, people first."""
    tracked = {table for table, _label in viewer.logged_models.menu()}
    places = viewer.logged_models.places()
    people = get_user_model()
    for model, registered in sorted(viewer.site._registry.items(), key=lambda item: item[0] is not people):
        place = places.get(model)
        if place is None or place.table not in tracked or viewer.masks.hide_model_key(model):
            continue
        if viewer.may("view", model) and registered.get_search_fields(viewer.request):
            yield registered


def _objects_of(registered: Any, text: str, viewer: Viewer) -> FoundObjects | None:
    searched = _without_masks(registered, viewer)
    if searched is None:
        return None
    model: type[models.Model] = registered.model
    alias = viewer.logged_models.alias(model)
    with transaction.atomic(using=alias):
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {_TIMEOUT}")
        whole = registered.get_queryset(viewer.request).using(alias)
        matching, is_repeated = searched.get_search_results(viewer.request, whole, text)
        matching = with_related(matching, viewer).order_by("-pk")
        rows = list((matching.distinct() if is_repeated else matching)[: _OFFERED + 1])
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                # An enclosing transaction continues with its own setting.
                cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    viewer.learn_rows(rows)
    seen = [row for row in rows if viewer.may("view", model, row) and _is_in_scope(row, viewer)]
    if not seen:
        return None
    labels = instance_labels(seen[:_OFFERED], viewer)
    objects = [
        FoundObject(label, timeline_url(viewer, model, key_of(row)))
        for label, row in zip(labels, seen, strict=False)
    ]
    url = viewer.model_url(model, "changelist") if len(rows) > _OFFERED else None
    more = f"{url}?{urlencode({'q': text})}" if url else None
    return FoundObjects(str(model._meta.verbose_name_plural), objects, more)


def _is_in_scope(row: models.Model, viewer: Viewer) -> bool:
    """Return whether the viewer may see changes of a row, if it is not every user who sees all of them."""
    if not viewer.is_scoped:
        return True
    database, schema, table = viewer.logged_models.places()[type(row)]
    changes = viewer.changes().filter(database=database, schema=schema, table=table)
    return nearest_change(changes, [key_of(row)]) is not None


def _without_masks(registered: Any, viewer: Viewer) -> Any:
    """Return an admin that searches no masked values, or None if it cannot be told what it searches."""
    if not viewer.masks:
        return registered
    if type(registered).get_search_results is not ModelAdmin.get_search_results:
        return None
    names = registered.get_search_fields(viewer.request)
    allowed = [name for name in names if not _is_masked(name.lstrip("^=@"), registered.model, viewer)]
    # Without any field, the admin would find all rows.
    if not allowed:
        return None
    searched = copy.copy(registered)
    searched.get_search_fields = lambda request: allowed
    return searched


def _is_masked(path: str, model: type[models.Model], viewer: Viewer) -> bool:
    """Return whether a field, or one on the way to it, is masked; it may be anything if it is not known."""
    known = False
    for name in path.split(LOOKUP_SEP):
        try:
            field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
        except FieldDoesNotExist:
            # A lookup, or a key of a JSON value.
            return not known
        known = True
        if getattr(field, "column", None) in viewer.masks.hidden_fields(model):
            return True
        if not field.is_relation or field.related_model is None:
            return False
        model = field.related_model
    return viewer.masks.hide_model_key(model)
