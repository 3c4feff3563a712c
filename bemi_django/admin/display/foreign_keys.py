"""Label the rows that foreign keys refer to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import live_instances, live_labels


def referenced_labels(
    viewer: Viewer, field: models.Field[Any, Any], alias: str, values: Iterable[Any]
) -> dict[Any, str]:
    """Return labels of the rows that the values of a foreign key refer to.

    Args:
        viewer: The user who sees the labels.
        field: A field of a model; only foreign keys to primary keys yield labels.
        alias: The database that has the rows.
        values: Values of the field as JSON has them.

    Returns:
        Labels by value, for the rows that exist.
    """
    target = field.remote_field.model if isinstance(field, models.ForeignKey) else None
    if target is None or not field.target_field.primary_key:  # type: ignore[attr-defined]
        return {}
    if viewer.masks.hide_model_key(target):
        return {}
    wanted = {value for value in values if isinstance(value, (int, str))}
    names = labels(viewer, target, alias, wanted)
    return {value: f"{names[value]} ({value})" for value in wanted if value in names}


def labels(viewer: Viewer, model: type[models.Model], alias: str, keys: Iterable[Any]) -> dict[Any, str]:
    """Return labels of rows by their keys (as JSON has them), if the viewer may view the model."""
    by_text = {str(key): key for key in keys}
    if not by_text or not viewer.may("view", model):
        return {}
    found = live_instances(LoggedModel(model, alias), by_text)
    texts = live_labels(list(found.values()), viewer)
    return {by_text[key]: text for key, text in zip(found, texts, strict=True)}
