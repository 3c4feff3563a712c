"""Which change reverted another, and which ones it reverted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only
from bemi_django.models import Change

_MOST = 20
_MOST_AMONG = 200


class Reverts(NamedTuple):
    """The change that reverted a change last, if any, and the changes that it reverted itself."""

    by: Change | None
    of: list[Change]


def reverts_of(change: Change, viewer: Viewer) -> Reverts:
    """Return the reverts around a change, among what the viewer may see."""
    return Reverts(_reverting(change, viewer), _reverted(change, viewer))


def reverted_among(changes: Sequence[Change], viewer: Viewer) -> dict[UUID, Change]:
    """Return, by the ids of changes, what reverted them last."""
    condition = Q(pk__in=[])
    for change in changes:
        condition |= Q(context__contains={"reverts": [str(change.pk)]})
    try:
        with bitmap_scan_only(query_timeouts.LOOKUP):
            reverting = read_changes(viewer.changes().filter(condition).order_by("id")[:_MOST_AMONG])
    except TimedOut:
        return {}
    return {found: change for change in reverting for found in _named(change)}


def _reverting(change: Change, viewer: Viewer) -> Change | None:
    reverting = viewer.changes().context({"reverts": [str(change.pk)]}).order_by("-id")
    try:
        with bitmap_scan_only(query_timeouts.LOOKUP):
            return next(iter(read_changes(reverting[:1])), None)
    except TimedOut:
        return None


def _reverted(change: Change, viewer: Viewer) -> list[Change]:
    ids = _named(change)[:_MOST]
    return read_changes(viewer.changes().filter(pk__in=ids).order_by("id")) if ids else []


def _named(change: Change) -> list[UUID]:
    """Return the ids of the changes that a change reverted, as its context has them."""
    named = change.context.get("reverts")
    return [found for text in (named if isinstance(named, list) else ()) if (found := _id(text))]


def _id(text: object) -> UUID | None:
    """Return an id; a context can hold anything."""
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None
