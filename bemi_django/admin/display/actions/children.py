"""Rows that belong to another row of the same action, as the lines of an order do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models

from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions import nouns
from bemi_django.admin.display.actions.action import ChangeKind
from bemi_django.models import Change


def is_link(kind: ChangeKind, viewer: Viewer) -> bool:
    """Return whether the rows of a kind link two others, as those of a many-to-many table do."""
    model = nouns.model_of(kind, viewer)
    return bool(model and model._meta.auto_created)


def children(
    changes: Mapping[ChangeKind, list[Change]], viewer: Viewer
) -> dict[ChangeKind, list[ChangeKind]]:
    """Return the kinds whose rows all belong to the only row of another kind, by that kind.

    Args:
        changes: The changes of a whole action, by kind.
        viewer: Who reads it.
    """
    found: dict[ChangeKind, list[ChangeKind]] = {}
    told: set[ChangeKind] = set()
    for kind, rows in changes.items():
        model = nouns.model_of(kind, viewer)
        is_one = kind.operation in ("CREATE", "DELETE") and len(rows) == 1
        if model is None or not is_one or kind in told or is_link(kind, viewer):
            continue
        own = [
            other
            for other, others in changes.items()
            if other not in (kind, *told, *found)
            and other.operation == kind.operation
            and all(_refers(row, rows[0], other, model, viewer) for row in others)
        ]
        if own:
            found[kind] = own
            told |= set(own)
    return found


def _refers(row: Change, to: Change, kind: ChangeKind, model: type[models.Model], viewer: Viewer) -> bool:
    side = "before" if row.operation == "DELETE" else "after"
    values, target = viewer.row(row, side), viewer.row(to, side)
    own = nouns.model_of(kind, viewer)
    for field in own._meta.concrete_fields if own else ():
        if isinstance(field, models.ForeignKey) and issubclass(model, _remote(field)):
            value = values.get(str(field.column), MASK)
            if value not in (None, MASK) and value == target.get(str(field.target_field.column)):
                return True
    return False


def _remote(field: Any) -> type[models.Model]:
    found: type[models.Model] = field.remote_field.model
    return found
