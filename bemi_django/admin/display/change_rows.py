"""The lines of the list of changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.urls import reverse

from bemi_django.admin.access.logged_models import LoggedModels
from bemi_django.admin.access.viewer import ColumnValue, Viewer
from bemi_django.admin.display.actors import Actor, Actors, where
from bemi_django.admin.display.object_labels import ObjectLabel, ObjectLabels
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change

#: Fields and characters of a value that fit into one line.
FIELDS = 3
CHARACTERS = 40

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d:\d\d)?$")


class Brief(NamedTuple):
    """One changed field in one line; ``before`` and ``after`` are None where the row was not."""

    name: str
    before: str | None
    after: str | None


class ListedRow(NamedTuple):
    change: Change
    url: str
    actor: Actor
    where: str
    object: ObjectLabel
    briefs: list[Brief]
    more: int


def rows(changes: Iterable[Change], viewer: Viewer, tables: LoggedModels) -> Iterator[ListedRow]:
    """What the list shows of changes."""
    changes = list(changes)
    actors, objects = Actors(changes), ObjectLabels(changes, viewer, tables)
    for change in changes:
        found = briefs(change, viewer)
        yield ListedRow(
            change,
            reverse("admin:bemi_django_change_change", args=[change.pk]),
            actors.actor_of(change),
            where(change),
            objects.of(change),
            found[:FIELDS],
            max(len(found) - FIELDS, 0),
        )


def briefs(change: Change, viewer: Viewer) -> list[Brief]:
    """The fields that a change gave another value, those first that tell most."""
    changed = [value for value in viewer.values(change) if value.is_changed]
    if change.operation != "UPDATE":
        changed.sort(key=_dullness)
    return [
        Brief(
            value.name,
            brief(value.before) if value.has_before else None,
            brief(value.after) if value.has_after else None,
        )
        for value in changed
    ]


def _dullness(value: ColumnValue) -> int:
    """Of a whole row the texts tell what it is; keys, flags and times do not."""
    shown = value.after if value.has_after else value.before
    if isinstance(shown, str):
        return 2 if _MOMENT.match(shown) or value.is_masked else 0
    return 3 if shown is None or isinstance(shown, bool) else 1


def brief(value: Any) -> str:
    """A value in a few characters; of a moment the seconds."""
    if not isinstance(value, str):
        text = dumps(value)
    elif moment := _MOMENT.match(value):
        text = f"{moment[1]} {moment[2]}"
    else:
        text = value[: CHARACTERS + 1].replace("\n", "↵") or "“”"
    return f"{text[:CHARACTERS]}…" if len(text) > CHARACTERS else text
