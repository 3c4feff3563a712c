"""Rows of the tables of changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext_lazy as _

from bemi_django.admin.access.rows.column_value import ColumnValue
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.nouns import automatic_columns
from bemi_django.admin.display.actors import Actor, Actors, where
from bemi_django.admin.display.object_labels import ObjectLabel, ObjectLabels
from bemi_django.admin.display.site_time import ago
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.admin.display.values.moments import MOMENT
from bemi_django.admin.display.values.shown_value import ShownValue, from_difference, told_apart
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.log.values.field_columns import columns_of
from bemi_django.models import Change

#: The number of fields, and of characters of a value, that fit in one row.
FIELDS = 3
CHARACTERS = 40


class Brief(NamedTuple):
    """A changed field in a few characters.

    Attributes:
        name: The name of the field.
        before: The old value, or None if the row did not exist before.
        after: The new value, or None if the row does not exist afterwards.
        column: The column.
        exact: The stored moments, where the values are moments; else empty strings.
    """

    name: str
    before: str | None
    after: str | None
    column: str
    exact: tuple[str, str] = ("", "")


class ListedCell(NamedTuple):
    """A cell of a row; ``value`` is what a column of the project shows, None for one of ``BUILT_IN``.

    ``is_empty`` tells that the column has nothing to show for the change.
    """

    name: str
    label: Any
    value: Any = None
    is_empty: bool = False


#: The columns of a table of changes.
BUILT_IN = (
    ListedCell("when", _("When")),
    ListedCell("who", _("Who and where")),
    ListedCell("operation", _("Operation")),
    ListedCell("object", _("Object")),
    ListedCell("difference", _("Difference")),
)


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
    cells: Sequence[ListedCell] = BUILT_IN


def rows(
    changes: Iterable[Change],
    viewer: Viewer,
    actors: Actors | None = None,
    objects: ObjectLabels | None = None,
    formatter: Formatter | None = None,
) -> Iterator[ListedRow]:
    """Yield the rows of a table of changes.

    Args:
        changes: The changes.
        viewer: Who sees them.
        actors: Their actors, if they are known.
        objects: The labels of their objects, if they are known.
        formatter: The formatter of the page, if it shows other values, too.
    """
    changes = list(changes)
    actors = actors or Actors(changes, viewer)
    objects = objects or ObjectLabels(changes, viewer)
    formatter = formatter or Formatter(viewer)
    formatter.learn_changes(changes)
    for change in changes:
        found = briefs(change, viewer, formatter)
        yield ListedRow(
            change,
            viewer.url("change", change.pk),
            actors.actor_of(change),
            where(change, viewer),
            objects.of(change),
            found[:FIELDS],
            max(len(found) - FIELDS, 0),
            ago(change.committed_at),
        )


def briefs(change: Change, viewer: Viewer, formatter: Formatter) -> list[Brief]:
    """Return the fields that a change modified, the most telling first; of an event its name and details."""
    if change.operation == "EVENT":
        return _event(viewer.context(change), formatter)
    changed = [value for value in viewer.values(change) if value.is_changed]
    logged = viewer.logged_models.model_of(change)
    if change.operation != "UPDATE":
        # A label or a link has the key already.
        keys = columns_of("pk", logged.model if logged else None)
        changed.sort(key=lambda value: (value.name in keys, _rank(value)))
    else:
        # What is set by each save is told where nothing else has changed.
        automatic = automatic_columns(logged.model if logged else None)
        changed = [value for value in changed if value.name not in automatic] or changed
    found = []
    for value in changed:
        before, after = (
            formatter.show(logged, value.name, side) if is_there else None
            for side, is_there in ((value.before, value.has_before), (value.after, value.has_after))
        )
        found.append(_brief(formatter.name(logged, value.name), before, after, value.name))
    return found


def _brief(name: str, before: ShownValue | None, after: ShownValue | None, column: str) -> Brief:
    if before is not None and after is not None:
        before, after = from_difference(*told_apart(before, after), CHARACTERS)
    return Brief(
        name,
        before and before.within(CHARACTERS),
        after and after.within(CHARACTERS),
        column,
        (before.exact if before else "", after.exact if after else ""),
    )


def _event(context: dict[str, Any], formatter: Formatter) -> list[Brief]:
    details = context.get("details")
    named = {"event": context.get("event"), **(details if isinstance(details, dict) else {})}
    return [
        _brief(name, None, _detail(name, value, formatter), name)
        for name, value in named.items()
        if value is not None
    ]


def _detail(name: str, value: Any, formatter: Formatter) -> ShownValue:
    """Return a detail of an event: a list of plain values, or of named ones, without the signs of JSON."""
    parts = list(value.values()) if isinstance(value, dict) else value
    if not parts or not isinstance(parts, list) or any(isinstance(part, (dict, list)) for part in parts):
        return formatter.show(None, name, value)
    texts = [formatter.show(None, name, part).text for part in parts]
    if isinstance(value, dict):
        texts = [f"{key} {text}" for key, text in zip(value, texts, strict=True)]
    return ShownValue("text", comma_list(texts))


def _rank(value: ColumnValue) -> int:
    """Rank the columns of a whole row: texts tell what it is; keys, flags and times do not."""
    shown = value.after if value.has_after else value.before
    if isinstance(shown, str):
        return 2 if MOMENT.match(shown) or value.is_masked else 0
    return 3 if shown is None or isinstance(shown, bool) else 1
