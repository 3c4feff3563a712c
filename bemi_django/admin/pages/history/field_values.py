"""The values that one field of an object had: each since when, for how long, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.http import Http404
from django.utils import timezone

from bemi_django.admin.access.masks import MASK
from bemi_django.admin.display.actions.nouns import automatic_columns
from bemi_django.admin.display.actors import Actor, Actors, why
from bemi_django.admin.display.site_time import ago, lasted
from bemi_django.admin.display.svg_steps import Level, StepChart, step_chart
from bemi_django.admin.display.text_diff import Piece
from bemi_django.admin.display.value_diff import are_alike
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.admin.display.values.shown_value import ShownValue
from bemi_django.admin.pages.history.column_changes import ColumnChanges
from bemi_django.admin.pages.history.object_state import ObjectState
from bemi_django.admin.pages.history.subject import HistorySubject
from bemi_django.admin.pages.history.timeline_steps import put_back_url
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import Page, cursor_of, read_page
from bemi_django.models import Change

#: The number of values on a page.
_SIZE = 100


class FieldValue(NamedTuple):
    """A value that a field had.

    Attributes:
        value: The value; None where the object was deleted.
        change: The change that set it; None for a value that is older than the log, or not in it yet.
        url: The page of the change.
        actor: Who set it, or None.
        ago: How long ago it was set.
        lasted: For how long the field had it; empty for the value that it has.
        is_unknown: Whether the log does not know the value.
        puts_back: The page that gives the field this value again, or None.
        reason: Why it was set, if the context says so.
        stored: The value as the log has it, or the mask.
        pieces: The parts of a long value, with what differs from the one before marked.
    """

    value: ShownValue | None
    change: Change | None
    url: str = ""
    actor: Actor | None = None
    ago: str = ""
    lasted: str = ""
    is_unknown: bool = False
    puts_back: str | None = None
    reason: str = ""
    stored: Any = None
    pieces: Sequence[Piece] = ()


def field_history(subject: HistorySubject, column: str) -> FieldHistory:
    """Return the values of a column.

    Raises:
        Http404: If neither the model of the object nor its changes have it.
    """
    if "\0" in column:
        raise Http404
    found = FieldHistory(subject, column)
    is_field = any(field.column == column for field in subject.model._meta.concrete_fields)
    if not is_field and not found.page.changes:
        raise Http404
    return found


class FieldHistory:
    """A page of the values that a field had, the newest first.

    Args:
        subject: The object, and the user who sees it.
        column: The column of the field.
    """

    def __init__(self, subject: HistorySubject, column: str) -> None:
        self._subject = subject
        self._viewer = subject.viewer
        self._column = column
        parameters = self._viewer.request.GET
        self._changes = ColumnChanges(subject, column)
        page = read_page(
            self._changes.found,
            cursor_of(parameters),
            is_filtered=True,
            timeout=query_timeouts.LOOKUP,
            size=_SIZE,
            is_one_server=True,
        )
        self.page: Page = page._replace(changes=list(filter(self._changes.has, page.changes)))
        self._next = self._following()
        self._state = ObjectState(subject)
        self._formatter = Formatter(self._viewer)
        for change in self.page.changes:
            for side in ("before", "after"):
                self._formatter.learn(
                    subject.logged, {column: self._changes.value_in(change, self._viewer.row(change, side))}
                )

    @property
    def label(self) -> str:
        """The name of the field."""
        return self._formatter.name(self._subject.logged, self._column)

    @property
    def is_masked(self) -> bool:
        """Whether the values are masked."""
        is_left_out = self._column in self._state.left_out and not self.page.changes
        return is_left_out or self._state.is_masked(self._column)

    def values(self) -> list[FieldValue]:
        """Return the values of the page."""
        changes = self.page.changes
        actors = Actors(changes, self._viewer)
        found = self._pending()
        later: Change | None = self._next
        for change in changes:
            found.append(self._value(change, later, actors))
            later = change
        if changes and self.page.older is None and changes[-1].operation == "UPDATE":
            # The first change of the log found a value.
            older, stored = self._shown(change, "before"), self._stored(change, "before")
            puts_back = self._puts_back(change, change, "before")
            found.append(FieldValue(older, None, puts_back=puts_back, stored=stored))
        return found

    def chart(self) -> StepChart | None:
        """Return the chart of the page, if the values are numbers that the viewer may see."""
        if self.is_masked:
            return None
        levels = []
        for change in reversed(self.page.changes):
            shown = self._shown(change, "after")
            value = self._changes.value_in(change, self._viewer.row(change, "after"))
            if shown is None or shown.kind != "number" or not _fits(value):
                continue
            is_outside = "db_user" in change.context or not change.context
            levels.append(Level(float(value), shown.text, change.committed_at, is_outside))
        end = self._next.committed_at if self._next is not None else timezone.now()
        return step_chart(levels, end)

    def _following(self) -> Change | None:
        """Return the change that ended the newest value of the page, if that is on another page."""
        if not self.page.changes or self.page.newer is None:
            return None
        later = self._changes.found.filter(id__gt=self.page.changes[0].pk).order_by("id")
        return next(filter(self._changes.has, later.iterator(chunk_size=_SIZE)), None)

    def _pending(self) -> list[FieldValue]:
        """Return the present value if the worker has not written its change yet."""
        row, changes = self._state.present(), self.page.changes
        if row is None or self._column not in row or self.page.newer is not None:
            return []
        newest = changes[0] if changes else None
        if newest is not None:
            if self._column in self._state.left_out:
                # It is in the log in another form, such as a hash.
                return []
            encrypted = self._viewer.encrypted
            unreadable = encrypted.hidden(newest) | encrypted.erased(newest)
            is_known = self._is_known(newest, "after") and self._changes.name_in(newest) not in unreadable
            logged = self._changes.value_in(newest, encrypted.row(newest, "after"))
            if not is_known or are_alike(logged, row[self._column]):
                return []
        value = MASK if self.is_masked and row[self._column] is not None else row[self._column]
        shown = self._formatter.show(self._subject.logged, self._column, value)
        return [FieldValue(shown, None, stored=value)]

    def _value(self, change: Change, later: Change | None, actors: Actors) -> FieldValue:
        return FieldValue(
            self._shown(change, "after"),
            change,
            self._viewer.url("change", change.pk),
            actors.actor_of(change),
            ago(change.committed_at),
            lasted(change.committed_at, later.committed_at) if later is not None else "",
            change.operation != "DELETE" and not self._is_known(change, "after"),
            self._puts_back(change, later, "after"),
            why(change, self._viewer),
            self._stored(change, "after"),
            self._pieces(change),
        )

    def _pieces(self, change: Change) -> Sequence[Piece]:
        if not (self._is_known(change, "before") and self._is_known(change, "after")):
            return ()
        before, after = (self._stored(change, side) for side in ("before", "after"))
        pair = self._formatter.pair(self._subject.logged, self._column, before, after)
        return pair.after_pieces if pair.is_long else ()

    def _puts_back(self, change: Change, later: Change | None, side: str) -> str | None:
        """Return the page that gives the field the value that the next change replaced."""
        if later is None or later.operation != "UPDATE" or not self._is_known(change, side):
            return None
        if self._subject.is_deleted or not self._subject.may("change"):
            return None
        if self._column in automatic_columns(self._subject.model):
            return None
        return put_back_url(self._subject, later, self._column)

    def _shown(self, change: Change, side: str) -> ShownValue | None:
        if not self._is_known(change, side):
            return None
        return self._formatter.show(self._subject.logged, self._column, self._stored(change, side))

    def _stored(self, change: Change, side: str) -> Any:
        value = self._changes.value_in(change, self._viewer.row(change, side))
        return MASK if self.is_masked and value is not None else value

    def _is_known(self, change: Change, side: str) -> bool:
        return self._changes.name_in(change) in getattr(change, side)


def _fits(value: Any) -> bool:
    """Tell whether a number can be drawn."""
    try:
        float(value)
    except (OverflowError, TypeError, ValueError):
        return False
    return not isinstance(value, bool)
