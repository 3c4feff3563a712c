"""Label rows by what refers to them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import models

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.rows.live_rows import rows_by_value
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import live_labels


def labels(
    viewer: Viewer, model: type[models.Model], alias: str, field: Any, values: Collection[Any]
) -> dict[Any, str]:
    """Return labels of rows that the viewer may view, by the values (as JSON has them) of a unique field."""
    if not values or not viewer.may("view", model):
        return {}
    found = {
        value: instance
        for value, instance in rows_by_value(LoggedModel(model, alias), field, values, viewer).items()
        if viewer.may("view", model, instance)
    }
    return dict(zip(found, live_labels(list(found.values()), viewer), strict=True))


def referred_labels(viewer: Viewer, field: Any, alias: str, values: list[Any]) -> list[str]:
    """Return the labels of rows that a foreign key refers to.

    Args:
        viewer: The user who sees the labels.
        field: The foreign key.
        alias: The database that has the rows.
        values: Its values as JSON has them.
    """
    target, model = field.target_field, field.related_model
    names = labels(viewer, model, alias, target, set(values))
    is_hidden = viewer.masks.hide_model_key(model) or target.column in viewer.masks.hidden_fields(model)
    return [names.get(value, f"#{MASK if is_hidden else value}") for value in values]
