"""The fields of an object: now, with who changed each; at a moment; and compared between two moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from bemi_django.admin.access.masks import MASK
from bemi_django.admin.display.actors import Actor, Actors
from bemi_django.admin.display.value_diff import are_alike
from bemi_django.admin.display.values.formatter import MISSING, Formatter, ShownPair
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.admin.pages.history.live_row import live_row, logged_columns, of_rows
from bemi_django.admin.pages.history.many_to_many import many_to_many_labels
from bemi_django.admin.pages.history.subject import HistorySubject
from bemi_django.admin.pages.history.timeline_steps import field_url
from bemi_django.admin.search.paging import nearest_change
from bemi_django.log.blame import blame
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.keys import models_of
from bemi_django.log.places import place_of
from bemi_django.models import Change

#: A row by column: None if it did not exist, empty if the log does not know it.
RowValues = dict[str, Any]


class FieldState(NamedTuple):
    """A field of an object.

    Attributes:
        label: The name of the field.
        pair: The values at the two moments.
        is_changed: Whether the two values differ.
        url: The history of the field, or None.
        by: The change that set the present value, and its actor.
        is_pending: Whether the worker has not yet written the change that set the value.
    """

    label: str
    pair: ShownPair
    is_changed: bool
    url: str | None = None
    by: tuple[Change, Actor] | None = None
    is_pending: bool = False


class Setter(NamedTuple):
    """The change that set a value, if it is known, and whether the worker has not written it yet."""

    change: Change | None
    is_pending: bool


class ObjectState:
    """The fields of an object at any moment.

    Args:
        subject: The object, and the user who sees it.
    """

    def __init__(self, subject: HistorySubject) -> None:
        self._subject = subject
        self._viewer = subject.viewer
        self._model = subject.model
        self._key = subject.key
        self._instance = subject.instance
        self._alias = subject.logged.alias
        self._fields: dict[str, Any] = {
            str(field.column): field for field in self._model._meta.concrete_fields
        }
        self._formatter = Formatter(self._viewer)
        # The tables of parent models have rows of the same object.
        self._tables = models_of(self._instance) if self._instance is not None else [self._model]
        row = live_row(self._instance, self._alias) if self._instance is not None else None
        self._present = self._visible(row)

    def now(self) -> dict[str, Any]:
        """Return the fields as they are, with the change that set each of them, for the template."""
        if self._instance is None or self._present is None:
            return {"lines": [], "existed": None}
        setters = self.setters()
        actors = Actors([found.change for found in setters.values() if found.change], self._viewer)
        lines = []
        for column, line in self._lines(self._present, self._present):
            change, is_pending = setters.get(column, Setter(None, False))
            by = (change, actors.actor_of(change)) if change else None
            lines.append(line._replace(by=by, is_pending=is_pending))
        return {"lines": lines + self._many_to_many([None]), "existed": None}

    def setters(self) -> dict[str, Setter]:
        """Return which change set the present value of each column, as far as the viewer may see it."""
        if self._instance is None or self._present is None:
            return {}
        blamed = blame(self._instance)
        known = {found.change.pk for found in blamed.values() if found.change}
        # Changes outside the viewer's scope are left out.
        seen = {change.pk: change for change in self._viewer.changes().filter(pk__in=known)}
        return {
            column: Setter(seen.get(found.change.pk) if found.change else None, found.is_pending)
            for column, found in blamed.items()
        }

    def values(self, moment: datetime | None) -> RowValues | None:
        """Return the row at a moment (None: now) with masked values hidden; None if it did not exist."""
        row = self._row(moment)
        if row is None:
            return None
        return {
            name: MASK if self.is_masked(name) and value is not None else value for name, value in row.items()
        }

    def at(self, moment: datetime) -> dict[str, Any]:
        """Return the fields at a moment, for the template."""
        row = self._row(moment)
        lines = [line for _, line in self._lines(row, row)]
        if row is not None:
            lines += self._many_to_many([moment])
        return {"lines": lines, "existed": row is not None}

    def compare(self, first: datetime | None, second: datetime | None) -> dict[str, Any]:
        """Return the fields that differ between two moments (None: now), for the template."""
        rows = [self._row(first), self._row(second)]
        lines = [line for _, line in self._lines(*rows)]
        lines += self._many_to_many(
            [first, second],
            [moment for moment, row in zip((first, second), rows, strict=True) if row is None],
        )
        return {"lines": [line for line in lines if line.is_changed], "existed": rows[0] is not None}

    def _lines(self, first: RowValues | None, second: RowValues | None) -> list[tuple[str, FieldState]]:
        """Return pairs of a column and its field."""
        before, after = first or {}, second or {}
        columns = [column for column in self._fields if column in before or column in after]
        columns += [column for column in {**before, **after} if column not in self._fields]
        self._formatter.learn(self._subject.logged, before)
        self._formatter.learn(self._subject.logged, after)
        return [(column, self._line(column, before, after)) for column in columns]

    def _line(self, column: str, before: RowValues, after: RowValues) -> FieldState:
        old, new = before.get(column), after.get(column)
        is_changed = (column in before) != (column in after) or not are_alike(old, new)
        if self.is_masked(column):
            # The position of a difference would tell something about the values.
            old, new = (MASK if value is not None else None for value in (old, new))
        logged = self._subject.logged
        pair = self._formatter.pair(
            logged, column, old if column in before else MISSING, new if column in after else MISSING
        )
        url = field_url(self._subject, column)
        return FieldState(self._formatter.name(logged, column), pair, is_changed, url)

    def is_masked(self, column: str) -> bool:
        """Tell whether the values of a column are masked."""
        masks = self._viewer.masks
        if column not in self.left_out:
            self._viewer.lifted.field(self._model, column, self._key)
        if column in self._fields:
            return column in masks.hidden_fields(self._model)
        # The table has columns that the model does not know.
        places = [place_of(table, self._alias) for table in self._tables]
        return any(masks.hide_column(place.schema, place.table, column) for place in places)

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Columns that are masked for others, and whose values the log does not take, such as passwords."""
        hidden = self._viewer.lifted.hidden_fields(self._model)
        return hidden - logged_columns(self._viewer, self._tables, self._key) if hidden else hidden

    def _visible(self, row: RowValues | None) -> RowValues | None:
        """Return the present row, without values that the log does not show to anybody."""
        return row and {
            name: MASK if name in self.left_out and value is not None else value
            for name, value in row.items()
        }

    def _many_to_many(
        self, moments: Sequence[datetime | None], missing: Sequence[datetime | None] = ()
    ) -> list[FieldState]:
        """Return the many-to-many fields at one or two moments (None: now)."""
        found = []
        for field in self._model._meta.many_to_many:
            sides = [
                []
                if moment in missing
                else many_to_many_labels(self._viewer, field, self._key, self._alias, self._instance, moment)
                for moment in moments
            ]
            if None not in sides and any(sides):
                old, new = (comma_list(side or []) or None for side in (sides[0], sides[-1]))
                pair = self._formatter.pair(None, field.name, old, new)
                found.append(FieldState(str(field.verbose_name), pair, old != new))
        return found

    def present(self) -> RowValues | None:
        """Return the row as it is, with the masked values that the log takes; None if there is none."""
        return self._present

    def _row(self, moment: datetime | None) -> RowValues | None:
        if moment is None:
            return self._present
        found: RowValues = {}
        for table in reversed(self._tables):
            part = self._part(self._viewer.changes().for_model(table), moment)
            if part is None:
                return None
            found |= part
        return found

    def _part(self, own: ChangeQuerySet, moment: datetime) -> RowValues | None:
        own = of_rows(own)
        last = nearest_change(own.filter(committed_at__lte=moment), [self._key])
        if last is not None:
            return self._known(last, "after") if last.operation != "DELETE" else None
        following = nearest_change(own.filter(committed_at__gt=moment), [self._key], is_oldest=True)
        if following is not None:
            if following.operation == "BASELINE":
                # The row was there, and had not changed since the log began.
                return self._known(following, "after")
            return self._known(following, "before") if following.operation != "CREATE" else None
        return self._present

    def _known(self, change: Change, side: str) -> RowValues:
        """Return a row by the present names of its columns.

        Encrypted values are decrypted, if the viewer may read what is not masked anyway.
        """
        names = self._viewer.logged_models.names_in(change)
        # What a mask of then hides stays hidden, whatever the column is called now.
        masked = self._viewer.masks.hidden(change.schema, change.table, getattr(change, side))
        hidden = set(map(names.now, masked | self._viewer.encrypted.hidden(change)))
        row = names.renamed(self._viewer.encrypted.row(change, side))
        self._viewer.lifted.row(change, {}, self._viewer.encrypted.readable(change))
        return {name: MASK if name in hidden and value is not None else value for name, value in row.items()}
