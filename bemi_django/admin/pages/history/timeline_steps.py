"""The steps of a timeline: what each change did, and what can be done about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from bemi_django.admin.display.actions.event_clause import one_event
from bemi_django.admin.display.actions.nouns import automatic_columns
from bemi_django.admin.display.actors import why
from bemi_django.admin.display.change_rows import ListedRow, rows
from bemi_django.admin.display.object_labels import field_page
from bemi_django.admin.display.values.formatter import MISSING, Formatter, ShownPair
from bemi_django.admin.pages.history.subject import HistorySubject
from bemi_django.admin.pages.reverted import reverted_among
from bemi_django.models import Change

#: The number of fields that a step names before the others are folded.
FIELDS = 8


class StepField(NamedTuple):
    """A field that a change of the object gave a value.

    Attributes:
        label: The name of the field.
        pair: The old and the new value.
        url: The history of the field.
        puts_back: The page that puts the old value back, or None.
        is_automatic: Whether it is set whenever the row is saved.
    """

    label: str
    pair: ShownPair
    url: str
    puts_back: str | None
    is_automatic: bool


class TimelineStep(NamedTuple):
    """A change of the object (``is_own``) or of a row that belongs to it.

    ``fields`` are the first fields of an own change, ``more`` the others, and ``named`` the labels of those
    that its sentence names. ``reason`` says why. ``links`` are labels and addresses of what can be done.
    ``reverted`` is the change that reverted it last, or None. ``event`` says what an event was.
    """

    row: ListedRow
    is_own: bool
    reason: str
    fields: list[StepField]
    more: list[StepField]
    named: list[str]
    links: list[tuple[str, str]]
    reverted: Change | None
    is_revert: bool
    event: str = ""


def timeline_steps(
    subject: HistorySubject, changes: Sequence[Change], own: Collection[Any]
) -> list[TimelineStep]:
    """Return the steps for changes.

    Args:
        subject: The object.
        changes: Changes of the object and of rows that belong to it.
        own: The ids of those that are the object's own.
    """
    formatter = Formatter(subject.viewer)
    reverted = reverted_among(changes, subject.viewer) if changes else {}
    steps = []
    for row in rows(changes, subject.viewer, formatter=formatter):
        is_own = row.change.pk in own
        fields = _fields(subject, row.change, formatter) if is_own else []
        # All values of a row that was inserted or deleted are looked at rarely.
        shown = FIELDS if row.change.operation == "UPDATE" else 0
        links = _links(subject, row.change) if is_own else []
        is_revert = "reverts" in row.change.context
        by = reverted.get(row.change.pk)
        reason = why(row.change, subject.viewer)
        first, more = fields[:shown], fields[shown:]
        named = [field.label for field in first]
        event = ""
        if row.change.operation == "EVENT":
            event = one_event(row.change, subject.viewer, row.object)
            row = row._replace(briefs=[brief for brief in row.briefs if brief.column != "event"])
        steps.append(TimelineStep(row, is_own, reason, first, more, named, links, by, is_revert, event))
    return steps


def _links(subject: HistorySubject, change: Change) -> list[tuple[str, str]]:
    """Return what can be done about a change of the object."""
    found = []
    is_there = not subject.is_deleted
    is_newest = subject.newest is not None and subject.newest.pk == change.pk
    may_restore = subject.may("change" if is_there else "add")
    if change.after and may_restore and not is_newest:
        found.append((_("Restore this version"), revert_url(subject, since=change.pk)))
    if change.operation == "CREATE" and is_there and subject.may("delete"):
        found.append((_("Undo the creation"), revert_url(subject, change=change.pk)))
    return found


def _fields(subject: HistorySubject, change: Change, formatter: Formatter) -> list[StepField]:
    viewer, logged = subject.viewer, subject.viewer.logged_models.model_of(change)
    may_put_back = change.operation == "UPDATE" and not subject.is_deleted and subject.may("change")
    automatic, names = (
        automatic_columns(logged.model if logged else None),
        viewer.logged_models.names_in(change),
    )
    found = []
    for value in viewer.values(change):
        if not value.is_changed or (value.is_unknown and not value.is_masked):
            continue
        column = names.now(value.name)
        old = value.before if value.has_before else MISSING
        new = value.after if value.has_after else MISSING
        is_put_back = (
            may_put_back
            and value.has_before
            and not value.is_unknown
            and not {value.name, column} & {*automatic, *names.gone}
        )
        found.append(
            StepField(
                formatter.name(logged, column),
                formatter.pair(logged, column, old, new),
                field_url(subject, column),
                put_back_url(subject, change, column) if is_put_back else None,
                column in automatic,
            )
        )
    # What is set by each save is told where nothing else has changed.
    return [field for field in found if not field.is_automatic] or found


def field_url(subject: HistorySubject, column: str) -> str:
    """Return the page of the history of one field."""
    return field_page(subject.url, column)


def put_back_url(subject: HistorySubject, change: Change, column: str) -> str:
    """Return the page that gives a field the value that it had before a change."""
    return revert_url(subject, change=change.pk, field=column)


def revert_url(subject: HistorySubject, **query: object) -> str:
    """Return a page that reverts, and then leads back to this one."""
    given = {**query, "next": subject.viewer.request.get_full_path()}
    return f"{subject.viewer.url('revert')}?{urlencode(given)}"
