"""All changes of an object and of what hangs on it; what it was at a moment, and between two."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connections, models
from django.db.models import Q
from django.http import Http404
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from bemi_django.admin.change_list import cursor_of
from bemi_django.admin.differences import Sides, differences
from bemi_django.admin.objects import gone_label, live, live_label
from bemi_django.admin.paging import no_scan, read_page
from bemi_django.admin.people import People, Who
from bemi_django.admin.rows import rows
from bemi_django.admin.tables import Place, Tables, parse_key
from bemi_django.admin.viewer import MASK, Viewer
from bemi_django.models import Change
from bemi_django.querysets import ChangeQuerySet

#: Changes of children are found by their foreign key, in the rows: not in a table with very many changes.
_PATIENCE_MS = 1500
_MOST_CHILDREN = 5000


class Child(NamedTuple):
    """A table that refers to the object, and the column that does."""

    model: type[models.Model]
    column: str
    value: Any


class State(NamedTuple):
    """The row at a moment, ``exists`` False where there was none; None: the log does not say."""

    moment: datetime
    row: dict[str, Any] | None


class Line(NamedTuple):
    """A field of the form, as it was."""

    label: str
    sides: Sides
    is_changed: bool
    blame: tuple[Change, Who] | None


def context_of(viewer: Viewer, app_label: str, model_name: str, object_id: str) -> dict[str, Any]:
    """What the template shows."""
    model = _model(app_label, model_name)
    key = unquote(object_id)
    if "\0" in key:
        raise Http404
    if not viewer.may("view", model):
        raise PermissionDenied
    tables = Tables()
    own = own_changes(viewer, model, key)
    place = _place(tables, model)
    instance = live(place, [key]).get(key)
    if instance is not None and not viewer.may("view", model, instance):
        raise PermissionDenied
    newest = own.order_by("-id").first()
    if instance is None and newest is None:
        raise Http404
    with_children, is_whole = _with_children(viewer, model, key, own, tables)
    parameters = viewer.request.GET
    page = read_page(with_children, cursor_of(parameters), is_filtered=False, is_indexed=True)
    moment, other = (_moment(parameters.get(name)) for name in ("at", "and"))
    return {
        "model": model,
        "object": instance,
        "object_label": _label(viewer, place, instance, newest, key),
        "is_deleted": instance is None,
        "rows": list(rows(page.changes, viewer, tables)),
        "page": page,
        "older": page.older and f"?older={page.older}",
        "newer": page.newer and f"?newer={page.newer}",
        "is_whole": is_whole,
        "at": moment,
        "other": other,
        "at_input": _as_input(moment),
        "other_input": _as_input(other),
        "now_label": _("now"),
        "lines": _lines(viewer, model, own, instance, moment, other),
        "was_there": _was_there(own, instance, moment),
        "may_restore": instance is None and viewer.has("revert") and viewer.may("add", model),
        "newest": newest,
    }


def _label(
    viewer: Viewer, place: Place, instance: models.Model | None, newest: Change | None, key: str
) -> str:
    if instance is not None:
        return live_label(instance, viewer)
    return gone_label(newest, place, viewer) if newest is not None else key


def own_changes(viewer: Viewer, model: type[models.Model], key: str) -> ChangeQuerySet:
    """The changes of a row, also under a key that it had before."""
    return viewer.changes().for_model(model).filter(Q(primary_key=key) | Q(previous_primary_key=key))


def _model(app_label: str, model_name: str) -> type[models.Model]:
    try:
        return apps.get_model(app_label, model_name)
    except LookupError:
        raise Http404 from None


def _place(tables: Tables, model: type[models.Model]) -> Place:
    return Place(model, tables.alias(model))


def children(model: type[models.Model], key: str) -> list[Child]:
    """What refers to a row by its key: rows of inlines and of many-to-many tables."""
    value = parse_key(model, key)
    relations = [
        relation
        for relation in model._meta.get_fields(include_hidden=True)
        if isinstance(relation, models.ManyToOneRel)
    ]
    return [
        Child(relation.related_model, relation.field.column, value)
        for relation in relations
        if relation.field.column and relation.field.target_field.primary_key
    ]


def _with_children(
    viewer: Viewer, model: type[models.Model], key: str, own: ChangeQuerySet, tables: Tables
) -> tuple[ChangeQuerySet, bool]:
    """Own changes and those of the children; False: some of them could not be found in time."""
    ids: set[Any] = set()
    is_whole = True
    for child in children(model, key):
        if not viewer.may("view", child.model):
            continue
        referring = (
            viewer.changes()
            .for_model(child.model)
            .filter(
                Q(before__contains={child.column: _json(child.value)})
                | Q(after__contains={child.column: _json(child.value)})
            )
        )
        try:
            with no_scan("SET LOCAL enable_indexscan = off", f"SET LOCAL statement_timeout = {_PATIENCE_MS}"):
                found = list(referring.order_by("-id").values_list("id", flat=True)[:_MOST_CHILDREN])
        except OperationalError:
            is_whole = False
            continue
        is_whole &= len(found) < _MOST_CHILDREN
        ids |= set(found)
    return (own | viewer.changes().filter(id__in=ids) if ids else own), is_whole


def _json(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else str(value)


def state(
    own: ChangeQuerySet, instance: models.Model | None, moment: datetime
) -> tuple[bool | None, Change | None]:
    """Whether the row was there at a moment, and the change that tells; None: the log does not say."""
    last = own.filter(committed_at__lte=moment).order_by("-id").first()
    if last is not None:
        return last.operation != "DELETE", last
    following = own.filter(committed_at__gt=moment).order_by("id").first()
    if following is not None:
        return following.operation != "CREATE", following
    return (None, None) if instance is None else (True, None)


def _was_there(own: ChangeQuerySet, instance: models.Model | None, moment: datetime | None) -> bool | None:
    return state(own, instance, moment)[0] if moment else None


def _row(
    viewer: Viewer, own: ChangeQuerySet, instance: Any, moment: datetime | None
) -> dict[str, Any] | None:
    """The row at a moment, masked; None where there was none."""
    if moment is None:
        moment = timezone.now()
    exists, change = state(own, instance, moment)
    if not exists:
        return None
    if change is None:
        return _live_row(viewer, instance)
    return viewer.row(change, "after" if change.committed_at <= moment else "before")


def _live_row(viewer: Viewer, instance: models.Model) -> dict[str, Any]:
    """The row as it is in the table: the log knows nothing of it yet."""
    meta = instance._meta
    name = connections[instance._state.db or "default"].ops.quote_name(meta.db_table)
    found = (
        type(instance)._base_manager.using(instance._state.db).filter(pk=instance.pk).values().first() or {}
    )
    columns = {field.attname: str(field.column) for field in meta.concrete_fields}
    row = {columns.get(attname, attname): _shown(value) for attname, value in found.items()}
    schema, _dot, table = name.replace('"', "").rpartition(".")
    return {
        column: MASK if viewer.is_masked(schema or "public", table, column) else value
        for column, value in row.items()
    }


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str, dict, list)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _lines(
    viewer: Viewer,
    model: type[models.Model],
    own: ChangeQuerySet,
    instance: models.Model | None,
    moment: datetime | None,
    other: datetime | None,
) -> list[Line]:
    """The form as it was, or what differs between two moments; without a moment as it is, with blame."""
    row = _row(viewer, own, instance, moment)
    compared = _row(viewer, own, instance, other) if other else row
    blamed = blame(own)
    people = People(blamed.values())
    found = []
    labels = {field.column: str(field.verbose_name) for field in model._meta.concrete_fields}
    for column in dict.fromkeys([*labels, *(row or {}), *(compared or {})]):
        if column not in (row or {}) and column not in (compared or {}):
            continue
        before, after = (row or {}).get(column), (compared or {}).get(column)
        change = blamed.get(column) if moment is None else None
        found.append(
            Line(
                labels.get(column, column),
                Sides(
                    differences(before, after).before if row and column in row else [],
                    differences(before, after).after if compared and column in compared else [],
                ),
                before != after,
                (change, people.who(change)) if change else None,
            )
        )
    return found


def blame(own: ChangeQuerySet) -> dict[str, Change]:
    """The change that gave each column the value that it has."""
    found: dict[str, Change] = {}
    for change in own.order_by("-id")[:500]:
        for column in change.after:
            if column not in found and (
                column not in change.before or change.before[column] != change.after[column]
            ):
                found[column] = change
        if change.operation == "CREATE":
            break
    return found


def _as_input(moment: datetime | None) -> str:
    """As an input for a moment wants it."""
    return f"{timezone.localtime(moment):%Y-%m-%dT%H:%M:%S}" if moment else ""


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = parse_datetime(text.strip())
    except ValueError:
        found = None
    if found is None:
        return None
    return found if timezone.is_aware(found) else timezone.make_aware(found)
