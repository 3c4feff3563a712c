"""The object of a history page, and who may see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404

from bemi_django.admin.access.logged_models import LoggedModel, parse_key
from bemi_django.admin.access.rows.guarded_queries import guarded
from bemi_django.admin.access.rows.live_rows import live_rows
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import (
    EMPTY_KEY,
    deleted_labels,
    live_labels,
    timeline_url,
)
from bemi_django.admin.search.paging import nearest_change
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.keys import key_fields, key_of, key_of_value, own_key_fields
from bemi_django.log.places import rows_of
from bemi_django.models import Change


class HistorySubject(NamedTuple):
    """An object that has, or had, a row.

    Attributes:
        viewer: The user who sees its history.
        logged: Its model, and the database that has its row.
        key: Its primary key, as the log writes it.
        instance: The object, or None if it is deleted or its key cannot be read.
        newest: Its newest change that the viewer may see, or None.
        label: Its name.
        unread: An instance without values, if there is a row whose key Python cannot read.
    """

    viewer: Viewer
    logged: LoggedModel
    key: str
    instance: models.Model | None
    newest: Change | None
    label: str
    unread: models.Model | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether the object has no row."""
        return self.instance is None and self.unread is None

    @property
    def model(self) -> type[models.Model]:
        """The model of the object."""
        return self.logged.model

    @property
    def url(self) -> str:
        """The page of the object's history."""
        return timeline_url(self.viewer, self.model, self.key)

    def latest(self) -> models.Model | None:
        """Return the object, or that of its last change; None if its values do not fit the model any more."""
        change = self.newest
        if self.instance is not None or change is None or not (change.after or change.before):
            return self.instance
        try:
            with guarded(self.logged.alias):
                return change.as_instance("after" if change.after else "before")
        except Exception:
            # The log or the database says no; or a field of the project, which may raise anything.
            return None

    def changes(self) -> ChangeQuerySet:
        """Return the changes of the object, under all keys that it had."""
        seen, latest = self.viewer.changes(), self.latest()
        return seen.for_model(self.model).of_key(self.key) if latest is None else seen.for_object(latest)

    def may(self, action: str) -> bool:
        """Tell whether the viewer may ``add``, ``change`` or ``delete`` the object by a revert."""
        known = self.unread if self.instance is None else self.instance
        return self.viewer.has("revert") and self.viewer.may(action, self.model, known)


def subject_of(viewer: Viewer, app_label: str, model_name: str, object_id: str) -> HistorySubject:
    """Return the object that an address names.

    Raises:
        Http404: If there is no such model, or neither the object nor a change of it.
        PermissionDenied: If the viewer may not view the object, or keys of the model are masked.
    """
    model, named = _named(app_label, model_name, object_id)
    if not viewer.may("view", model) or viewer.masks.hide_model_key(model):
        raise PermissionDenied
    logged = LoggedModel(model, viewer.logged_models.alias(model))
    seen = viewer.changes().for_model(model).exclude(operation__in=("EVENT", "ERASED"))
    for key in _keys(logged, named):
        found = live_rows(logged, [key], viewer)
        instance, unread = found.read.get(key), found.unread.get(key)
        newest = nearest_change(seen, [key])
        if instance is not None or newest is not None:
            break
    else:
        raise Http404
    if not viewer.may("view", model, unread if instance is None else instance):
        raise PermissionDenied
    return HistorySubject(
        viewer, logged, key, instance, newest, _label(viewer, logged, instance, newest, key), unread
    )


def subject_of_instance(viewer: Viewer, instance: models.Model) -> HistorySubject:
    """Return an object that the caller has, and that the viewer may see.

    Raises:
        PermissionDenied: If keys of the model are masked.
    """
    model = instance._meta.concrete_model or type(instance)
    if viewer.masks.hide_model_key(model):
        raise PermissionDenied
    logged = LoggedModel(model, viewer.logged_models.alias(model))
    return HistorySubject(
        viewer, logged, key_of(instance), instance, None, live_labels([instance], viewer)[0]
    )


def _named(app_label: str, model_name: str, object_id: str) -> tuple[type[models.Model], str]:
    key = "" if object_id == EMPTY_KEY else unquote(object_id)
    if "\0" in key:
        raise Http404
    try:
        model: Any = apps.get_model(app_label, model_name)
    except LookupError:
        raise Http404 from None
    return model, key


def _keys(logged: LoggedModel, named: str) -> Iterator[str]:
    """Yield the key of an address, which may be as the log writes it, or else as Django does."""
    yield named
    model = logged.model
    if key_fields(model) != own_key_fields(model):
        # The key of the table is another one.
        with suppress(Exception), guarded(logged.alias):
            row = rows_of(model, logged.alias).filter(pk=named).first()
            yield from [key_of(row)] if row is not None else []
        return
    value = parse_key(model, named)
    with suppress(ArithmeticError, TypeError, ValueError):
        if value is not None and (key := key_of_value(model, value)) != named:
            yield key


def _label(
    viewer: Viewer, logged: LoggedModel, instance: models.Model | None, newest: Change | None, key: str
) -> str:
    if instance is not None:
        return live_labels([instance], viewer)[0]
    return deleted_labels([newest], logged, viewer)[0] if newest is not None else key
