"""The history page of an object: its changes and those of the rows that belong to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, OperationalError, models
from django.db.models import Q
from django.http import Http404
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from bemi_django.admin.access.logged_models import LoggedModel, LoggedModels
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import rows
from bemi_django.admin.display.object_labels import deleted_label, live_instances, live_label
from bemi_django.admin.pages import object_state
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
        PermissionDenied: If the viewer may not view the object.
    """
    model, key = _named(app_label, model_name, object_id)
    if not viewer.may("view", model):
        raise PermissionDenied
    logged_models = LoggedModels()
    logged_model = LoggedModel(model, logged_models.alias(model))
    instance = live_instances(logged_model, [key]).get(key)
    if instance is not None and not viewer.may("view", model, instance):
        raise PermissionDenied
    newest = nearest_change(viewer.changes().for_model(model), [key])
    if instance is None and newest is None:
        raise Http404
    subject = instance or _last_instance(newest)
    changes, is_whole = _with_children(viewer, model, key, subject)
    parameters = viewer.request.GET
    page = read_page(changes, cursor_of(parameters), is_filtered=True, timeout=query_timeouts.LOOKUP)
    moment, other = (_moment(parameters.get(name)) for name in ("at", "and"))
    return {
        "model": model,
        "object_label": _label(viewer, logged_model, instance, newest, key),
        "is_deleted": instance is None,
        "rows": list(rows(page.changes, viewer, logged_models)),
        "page": page,
        "older": page.older and f"?older={page.older}",
        "newer": page.newer and f"?newer={page.newer}",
        "is_whole": is_whole,
        "at": moment,
        "other": other,
        "at_input": _as_input(moment),
        "other_input": _as_input(other),
        "now_label": _("now"),
        **object_state.template_context(viewer, model, key, instance, moment, other),
        "restores": newest
        if instance is None and viewer.has("revert") and viewer.may("add", model) and _is_deletion(newest)
        else None,
    }


def _named(app_label: str, model_name: str, object_id: str) -> tuple[type[models.Model], str]:
    key = unquote(object_id)
    if "\0" in key:
        raise Http404
    try:
        return apps.get_model(app_label, model_name), key
    except LookupError:
        raise Http404 from None


def _label(
    viewer: Viewer, logged_model: LoggedModel, instance: models.Model | None, newest: Change | None, key: str
) -> str:
    if instance is not None:
        return live_label(instance, viewer)
    return deleted_label(newest, logged_model, viewer) if newest is not None else key


def _is_deletion(change: Change | None) -> bool:
    return change is not None and change.operation == "DELETE"


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


def _as_input(moment: datetime | None) -> str:
    """Return a moment as the value of an input element."""
    return f"{timezone.localtime(moment):%Y-%m-%dT%H:%M:%S}" if moment else ""


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = parse_datetime(text.strip())
    except ValueError:
        return None
    return timezone.make_aware(found) if found and timezone.is_naive(found) else found
