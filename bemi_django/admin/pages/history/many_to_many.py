"""The members of many-to-many fields at a moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q

from bemi_django.admin.access.logged_models import parse_key
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.foreign_keys import labels
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only
from bemi_django.log.keys import json_of

#: With more later changes than this, the members at a moment are not shown.
_MOST = 5000


def many_to_many_labels(
    viewer: Viewer, field: Any, key: str, alias: str, exists: bool, moment: datetime | None
) -> list[str] | None:
    """Return the sorted labels of a many-to-many field's members at a moment.

    Later changes are undone from the present members, which also finds members older than the log.

    Args:
        viewer: The user who sees the labels.
        field: The many-to-many field.
        key: The primary key of the object, as the log writes it.
        alias: The database that has the rows.
        exists: Whether the object exists now.
        moment: The moment, or None for now.

    Returns:
        The labels, or None if they are not permitted or there are too many later changes.
    """
    through, model = field.remote_field.through, field.model
    own, other = field.m2m_column_name(), field.m2m_reverse_name()
    value = parse_key(model, key)
    if value is None or not viewer.may("view", field.related_model):
        return None
    members: dict[str, Any] = {}
    if exists:
        attribute = next(f.attname for f in through._meta.concrete_fields if f.column == other)
        rows = through._base_manager.using(alias).filter(**{f"{field.m2m_field_name()}": value})
        members = {
            str(row.pk): json_of(field.related_model._meta.pk, getattr(row, attribute)) for row in rows
        }
    if moment is not None:
        holds = {own: json_of(model._meta.pk, value)}
        later = (
            viewer.changes()
            .for_model(through)
            .filter(Q(before__contains=holds) | Q(after__contains=holds), committed_at__gt=moment)
        )
        try:
            with bitmap_scan_only(query_timeouts.LOOKUP):
                changes = read_changes(later.order_by("-id")[: _MOST + 1])
        except TimedOut:
            return None
        if len(changes) > _MOST:
            return None
        for change in changes:
            members.pop(str(change.primary_key), None)
            if change.before.get(own) == holds[own]:
                members[str(change.previous_primary_key or change.primary_key)] = change.before.get(other)
    names = labels(viewer, field.related_model, alias, set(members.values()))
    is_hidden = viewer.masks.hide_model_key(field.related_model)
    unnamed = {member: f"#{MASK if is_hidden else member}" for member in members.values()}
    return sorted(names.get(member, unnamed[member]) for member in members.values())
