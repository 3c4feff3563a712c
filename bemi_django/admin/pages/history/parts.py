"""The rows that belong to an object: those edited with it, and those that only refer to it."""

from __future__ import annotations

from typing import Any

from bemi_django.admin.pages.history.subject import HistorySubject
from bemi_django.log.belongings import Belonging, belongings


def belongings_of(subject: HistorySubject) -> tuple[list[Belonging], list[Belonging]]:
    """Return the rows that are parts of an object, and others that refer to it, if the viewer may see them.

    Parts are many-to-many rows, generic relations, rows of child models, and the inlines of the admin.
    """
    latest = subject.latest()
    if latest is None:
        return [], []
    seen = [found for found in belongings(latest) if subject.viewer.may("view", found.model)]
    inlines = _inline_models(subject)
    parts = [found for found in seen if not found.is_reference or found.model in inlines]
    return parts, [found for found in seen if found not in parts]


def _inline_models(subject: HistorySubject) -> set[Any]:
    registered = subject.viewer.site._registry.get(subject.model)
    if registered is None:
        return set()
    try:
        inlines = registered.get_inlines(subject.viewer.request, subject.instance)
        return {inline.model._meta.concrete_model for inline in inlines}
    except Exception:
        # Code of the project that expects another object.
        return set()
