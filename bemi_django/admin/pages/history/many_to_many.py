"""The members of many-to-many fields at a moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import ManyToManyField, Model, Q

from bemi_django.admin.access.logged_models import parse_key
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.foreign_keys import referred_labels
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only
from bemi_django.log.belongings import generic_link
from bemi_django.log.keys import json_of
from bemi_django.log.places import rows_of

#: With more later changes than this, the members at a moment are not shown.
_MOST = 5000


class _Ends(NamedTuple):
    """How rows of the through table name the object and the member.

    ``rows`` are the values of the object's rows by field, and ``holds`` by column.
    """

    rows: dict[str, Any]
    holds: dict[str, Any]
    member: Any


def many_to_many_labels(
    viewer: Viewer, field: Any, key: str, alias: str, instance: Model | None, moment: datetime | None
) -> list[str] | None:
    """Return the sorted labels of a many-to-many field's members at a moment.

    Later changes are undone from the present members, which also finds members older than the log.

    Args:
        viewer: The user who sees the labels.
        field: The many-to-many field.
        key: The primary key of the object, as the log writes it.
        alias: The database that has the rows.
        instance: The object, or None if it does not exist now.
        moment: The moment, or None for now.

    Returns:
        The labels, or None if they are not permitted or there are too many later changes.
    """
    through = field.remote_field.through
    value = parse_key(field.model, key) if instance is None else instance.pk
    if value is None or not viewer.may("view", field.related_model):
        return None
    ends = _ends(field, value, instance)
    if ends is None or ends.member.column in viewer.masks.hidden_fields(through):
        return None
    holds, other = ends.holds, ends.member.column
    members: dict[str, Any] = {}
    if instance is not None:
        rows = rows_of(through, alias).filter(**ends.rows)
        members = {str(row.pk): json_of(ends.member, getattr(row, ends.member.attname)) for row in rows}
    if moment is not None:
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
            if change.before.items() >= holds.items():
                members[str(change.previous_primary_key or change.primary_key)] = change.before.get(other)
    return sorted(referred_labels(viewer, ends.member, alias, list(members.values())))


def _ends(field: Any, key: Any, instance: Model | None) -> _Ends | None:
    """Return the ends of a field that an object with a key has; None if they are not known."""
    meta = field.remote_field.through._meta
    if isinstance(field, ManyToManyField):
        own, member = (
            meta.get_field(name) for name in (field.m2m_field_name(), field.m2m_reverse_field_name())
        )
        return _by_reference(own, member, key, instance)
    # Tags, for example.
    links = [link for link in meta.concrete_fields if link.many_to_one]
    member = next((link for link in links if link.related_model is field.related_model), None)
    if member is None:
        return None
    if link := generic_link(field):
        kind = next(one for one in links if one.column == link.kind_column)
        holds = {str(link.key.column): json_of(link.key, key), link.kind_column: link.kind}
        return _Ends({link.key.name: key, kind.attname: link.kind}, holds, member)
    own = next(
        (one for one in links if one is not member and issubclass(field.model, one.related_model)), None
    )
    return None if own is None else _by_reference(own, member, key, instance)


def _by_reference(own: Any, member: Any, key: Any, instance: Model | None) -> _Ends | None:
    """Return the ends of a table whose rows refer to the object by its key, or by another unique field."""
    if own.target_field.primary_key:
        value = key
    elif instance is None:
        return None
    else:
        value = getattr(instance, own.target_field.attname)
    return _Ends({own.name: value}, {own.column: json_of(own, value)}, member)
