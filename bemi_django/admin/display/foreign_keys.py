"""Label rows by their keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.rows.live_rows import live_instances
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import live_labels


def labels(viewer: Viewer, model: type[models.Model], alias: str, keys: Iterable[Any]) -> dict[Any, str]:
    """Return labels of rows by their keys (as JSON has them), if the viewer may view them."""
    by_text = {str(key): key for key in keys}
    if not by_text or not viewer.may("view", model):
        return {}
    found = {
        key: instance
        for key, instance in live_instances(LoggedModel(model, alias), by_text, viewer).items()
        if viewer.may("view", model, instance)
    }
    texts = live_labels(list(found.values()), viewer)
    return {by_text[key]: text for key, text in zip(found, texts, strict=True)}
