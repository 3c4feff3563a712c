"""What the values of foreign keys name, and the other ends of many-to-many relations at a moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import OperationalError, models
from django.db.models import Q

from bemi_django.admin import patience
from bemi_django.admin.objects import live, live_label
from bemi_django.admin.paging import by_bitmap
from bemi_django.admin.reading import read
from bemi_django.admin.tables import LoggedModel, parse_key
from bemi_django.admin.viewer import Viewer
from bemi_django.log.keys import json_of

#: Beyond it the other ends at a moment are not told.
_MOST = 5000


def named(viewer: Viewer, field: models.Field[Any, Any], alias: str, values: Iterable[Any]) -> dict[Any, str]:
    """What the rows are called that values of a foreign key refer to, of those that are there."""
    target = field.remote_field.model if isinstance(field, models.ForeignKey) else None
    if target is None or not field.target_field.primary_key:  # type: ignore[attr-defined]
        return {}
    wanted = {value for value in values if isinstance(value, (int, str))}
    names = labels(viewer, target, alias, wanted)
    return {value: f"{names[value]} ({value})" for value in wanted if value in names}


def labels(viewer: Viewer, model: type[models.Model], alias: str, keys: Iterable[Any]) -> dict[Any, str]:
    """What rows are called, by their key as JSON has it; only those that the viewer may see."""
    by_text = {str(key): key for key in keys}
    if not by_text or not viewer.may("view", model):
        return {}
    found = live(LoggedModel(model, alias), by_text)
    return {by_text[text]: live_label(row, viewer) for text, row in found.items()}


def other_ends(
    viewer: Viewer, field: Any, key: str, alias: str, is_there: bool, moment: datetime | None
) -> list[str] | None:
    """What a many-to-many field held at a moment (None: now), in order; None where that cannot be told.

    It goes back from what it holds now: that is right, too, for what is older than the log.
    """
    through, model = field.remote_field.through, field.model
    own, other = field.m2m_column_name(), field.m2m_reverse_name()
    value = parse_key(model, key)
    if value is None or not viewer.may("view", field.related_model):
        return None
    ends: dict[str, Any] = {}
    if is_there:
        attribute = next(f.attname for f in through._meta.concrete_fields if f.column == other)
        rows = through._base_manager.using(alias).filter(**{f"{field.m2m_field_name()}": value})
        ends = {str(row.pk): json_of(field.related_model._meta.pk, getattr(row, attribute)) for row in rows}
    if moment is not None:
        holds = {own: json_of(model._meta.pk, value)}
        later = (
            viewer.changes()
            .for_model(through)
            .filter(Q(before__contains=holds) | Q(after__contains=holds), committed_at__gt=moment)
        )
        try:
            with by_bitmap(patience.KEY):
                changes = read(later.order_by("-id")[: _MOST + 1])
        except OperationalError:
            return None
        if len(changes) > _MOST:
            return None
        for change in changes:
            ends.pop(str(change.primary_key), None)
            if change.before.get(own) == holds[own]:
                ends[str(change.previous_primary_key or change.primary_key)] = change.before.get(other)
    names = labels(viewer, field.related_model, alias, set(ends.values()))
    return sorted(names.get(end, f"#{end}") for end in ends.values())
