"""Who may undo changes."""

from __future__ import annotations

from collections.abc import Iterable

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.rows.live_rows import live_rows
from bemi_django.admin.access.viewer import Viewer
from bemi_django.log.places import is_bookkeeping
from bemi_django.models import Change

#: The permission needed to undo each operation.
_UNDOING = {"CREATE": "delete", "UPDATE": "change", "DELETE": "add"}


def may_undo(changes: Iterable[Change], viewer: Viewer) -> bool:
    """Tell whether the viewer has the permissions on the models that undoing the changes takes.

    Records that a revert leaves as they are take none; without anything else, there is nothing to undo.
    """
    undone = [
        change
        for change in changes
        if change.operation not in ("EVENT", "ERASED")
        and (change.operation != "CREATE" or not is_bookkeeping(change.place))
    ]
    models = {change.pk: viewer.logged_models.model_of(change) for change in undone}
    keys: dict[LoggedModel, set[str]] = {}
    for change in undone:
        if (logged := models[change.pk]) is not None and change.primary_key is not None:
            keys.setdefault(logged, set()).add(change.primary_key)
    rows = {logged: live_rows(logged, wanted, viewer) for logged, wanted in keys.items()}
    instances = {logged: {**found.unread, **found.read} for logged, found in rows.items()}
    for change in undone:
        logged, action = models[change.pk], _UNDOING.get(change.operation)
        if action is None:
            return False
        if logged is None:
            # There are no permissions on a table without a model.
            is_allowed = bool(viewer.request.user.is_superuser)
        else:
            key = change.primary_key
            instance = instances[logged].get(key) if key is not None else None
            is_allowed = viewer.may(action, logged.model, instance)
        if not is_allowed:
            return False
    return bool(undone)
