"""Rows of the tables of changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from bemi_django.admin.access.viewer import ColumnValue, Viewer
from bemi_django.admin.display.actors import Actor, Actors, where
from bemi_django.admin.display.object_labels import ObjectLabel, ObjectLabels
from bemi_django.admin.display.site_time import ago
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change

#: The number of fields, and of characters of a value, that fit in one row.
FIELDS = 3
CHARACTERS = 40

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d:\d\d)?$")


class Brief(NamedTuple):
    """A changed field in a few characters.

    Attributes:
        name: The column.
        before: The old value, or None if the row did not exist before.
        after: The new value, or None if the row does not exist afterwards.
    """

    name: str
    before: str | None
    after: str | None


class ListedRow(NamedTuple):
    """A change as a table of changes shows it; ``more`` fields are left out."""

    change: Change
    url: str
    actor: Actor
    where: str
    object: ObjectLabel
    briefs: list[Brief]
    more: int
    ago: str


def rows(
    changes: Iterable[Change],
    viewer: Viewer,
    actors: Actors | None = None,
    objects: ObjectLabels | None = None,
) -> Iterator[ListedRow]:
    """Yield the rows of a table of changes.

    Args:
        changes: The changes.
        viewer: Who sees them.
        actors: Their actors, if they are known.
        objects: The labels of their objects, if they are known.
    """
    changes = list(changes)
    actors = actors or Actors(changes, viewer)
    objects = objects or ObjectLabels(changes, viewer)
    for change in changes:
        found = briefs(change, viewer)
        yield ListedRow(
            change,
            viewer.url("change", change.pk),
            actors.actor_of(change),
            where(change),
            objects.of(change),
            found[:FIELDS],
            max(len(found) - FIELDS, 0),
            ago(change.committed_at),
        )


def briefs(change: Change, viewer: Viewer) -> list[Brief]:
    """Return the fields that a change modified, the most telling first; of an event its name and details."""
    if change.operation == "EVENT":
        return _event(viewer.context(change))
    changed = [value for value in viewer.values(change) if value.is_changed]
    if change.operation != "UPDATE":
        changed.sort(key=_rank)
    return [
        Brief(
            value.name,
            brief(value.before) if value.has_before else None,
            brief(value.after) if value.has_after else None,
        )
        for value in changed
    ]


def _event(context: dict[str, Any]) -> list[Brief]:
    details = context.get("details")
    named = {"event": context.get("event"), **(details if isinstance(details, dict) else {})}
    return [Brief(name, None, brief(value)) for name, value in named.items() if value is not None]


def _rank(value: ColumnValue) -> int:
    """Rank the columns of a whole row: texts tell what it is; keys, flags and times do not."""
    shown = value.after if value.has_after else value.before
    if isinstance(shown, str):
        return 2 if _MOMENT.match(shown) or value.is_masked else 0
    return 3 if shown is None or isinstance(shown, bool) else 1


def brief(value: Any) -> str:
    """Return a value in at most ``CHARACTERS`` characters, and a time to the second."""
    if not isinstance(value, str):
        text = dumps(value)
    elif _MOMENT.match(value):
        text = _moment(value)
    else:
        text = value[: CHARACTERS + 1].replace("\n", "↵") or "“”"
    return f"{text[:CHARACTERS]}…" if len(text) > CHARACTERS else text


def _moment(value: str) -> str:
    """Return a moment to the second: one with an offset in the current time zone, others as they are."""
    found = parse_datetime(value)
    if found is not None and timezone.is_aware(found):
        try:
            found = timezone.localtime(found)
        except OverflowError:
            return value
    return f"{found:%Y-%m-%d %H:%M:%S}" if found else value
