"""The history page of an object: its changes and those of the rows that belong to it."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, OperationalError, models
from django.db.models import Q
from django.http import Http404, QueryDict

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import rows
from bemi_django.admin.display.object_labels import deleted_labels, live_instances, live_labels
from bemi_django.admin.pages.history.moment_form import MomentForm
from bemi_django.admin.pages.history.object_state import ObjectState
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import bitmap_scan_only, cursor_of, nearest_change, read_page
from bemi_django.exceptions import BemiError
from bemi_django.log.belongings import belongings
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

#: Changes of children are found by a value in the row, which is too slow for more changes than this.
_MOST_CHILDREN = 5000


def template_context(viewer: Viewer, app_label: str, model_name: str, object_id: str) -> dict[str, Any]:
    """Return the context of the template.

    Raises:
        Http404: If there is no such model, or neither the object nor a change of it.
        PermissionDenied: If the viewer may not view the object, or keys of the model are masked.
    """
    model, key = _named(app_label, model_name, object_id)
    if not viewer.may("view", model) or viewer.masks.hide_model_key(model):
        raise PermissionDenied
    logged = LoggedModel(model, viewer.logged_models.alias(model))
    instance = live_instances(logged, [key]).get(key)
    if instance is not None and not viewer.may("view", model, instance):
        raise PermissionDenied
    newest = nearest_change(viewer.changes().for_model(model), [key])
    if instance is None and newest is None:
        raise Http404
    subject = instance or _last_instance(newest)
    changes, is_whole = _with_children(viewer, model, key, subject)
    parameters = viewer.request.GET
    page = read_page(
        changes, cursor_of(parameters), is_filtered=True, timeout=query_timeouts.LOOKUP, is_one_server=True
    )
    may_restore = instance is None and viewer.has("revert") and viewer.may("add", model)
    label = _label(viewer, logged, instance, newest, key)
    return {
        "heading": label,
        "model": model,
        "object_label": label,
        "is_deleted": instance is None,
        "rows": list(rows(page.changes, viewer)),
        "page": page,
        "older": _address(parameters, older=page.older),
        "newer": _address(parameters, newer=page.newer),
        "is_whole": is_whole,
        **_state(parameters, ObjectState(viewer, model, key, instance)),
        "restores": newest if may_restore and newest and newest.operation == "DELETE" else None,
    }


def _state(parameters: QueryDict, state: ObjectState) -> dict[str, Any]:
    """Return what the form asks for: the present, a moment, or what differs between two moments."""
    form = MomentForm(parameters)
    at, other = form.moments()
    asked = {"form": form, "at": at, "other": other, "is_future": form.is_future()}
    if other is None:
        return {**asked, **(state.at(at) if at else state.now())}
    # Without a first moment, the second one is compared with the present.
    first, second = (at, other) if at else (other, None)
    return {**asked, "is_comparison": True, "first": first, "second": second, **state.compare(first, second)}


def _address(parameters: QueryDict, **cursor: Any) -> str | None:
    query = parameters.copy()
    for name, value in cursor.items():
        if value is None:
            return None
        for other in ("older", "newer"):
            query.pop(other, None)
        query[name] = str(value)
    return f"?{query.urlencode()}"


def _named(app_label: str, model_name: str, object_id: str) -> tuple[type[models.Model], str]:
    key = unquote(object_id)
    if "\0" in key:
        raise Http404
    try:
        return apps.get_model(app_label, model_name), key
    except LookupError:
        raise Http404 from None


def _label(
    viewer: Viewer, logged: LoggedModel, instance: models.Model | None, newest: Change | None, key: str
) -> str:
    if instance is not None:
        return live_labels([instance], viewer)[0]
    return deleted_labels([newest], logged, viewer)[0] if newest is not None else key


def _last_instance(change: Change | None) -> models.Model | None:
    """Return the object of the last change, or None if its values do not fit the model any more."""
    if change is None or not (change.after or change.before):
        return None
    try:
        return change.as_instance("after" if change.after else "before")
    except (BemiError, DatabaseError):
        return None


def _with_children(
    viewer: Viewer, model: type[models.Model], key: str, subject: models.Model | None
) -> tuple[ChangeQuerySet, bool]:
    """Return the changes of the object and its children, and whether all of them were found in time."""
    seen = viewer.changes()
    if subject is None:
        return seen.for_model(model).of_key(key), True
    own, is_whole = seen.for_object(subject), True
    ids: set[Any] = set()
    for child in belongings(subject):
        if not viewer.may("view", child.model):
            continue
        holds = Q(before__contains=child.values) | Q(after__contains=child.values)
        referring = seen.for_model(child.model).filter(holds).order_by("-id").values_list("id", flat=True)
        try:
            with bitmap_scan_only(query_timeouts.LOOKUP):
                found = list(referring[:_MOST_CHILDREN])
        except OperationalError:
            is_whole = False
            continue
        is_whole &= len(found) < _MOST_CHILDREN
        ids |= set(found)
    return (own | seen.filter(id__in=ids) if ids else own), is_whole
