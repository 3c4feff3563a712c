"""Show the values of rows; the names of the rows that they refer to are read for a whole page at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.db import models, router

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.rows.live_rows import rows_by_value
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import live_labels, timeline_url
from bemi_django.admin.display.text_diff import MOST_PAIRS, Effort, Piece, Sides
from bemi_django.admin.display.value_diff import differences
from bemi_django.admin.display.values.folded_text import folded, whole
from bemi_django.admin.display.values.shown_value import (
    Choices,
    ShownValue,
    choices_of,
    labelled,
    shown,
    stored,
    told_apart,
)
from bemi_django.log.keys import key_of
from bemi_django.models import Change

#: A row's label and page.
_Named = tuple[str, str | None]


class _Target(NamedTuple):
    """What a foreign key refers to: rows of a model, by their values in a field."""

    logged: LoggedModel
    field: Any


#: The effort for all comparisons of a page: ten of the longest that there are.
_PAGE_PAIRS = 10 * MOST_PAIRS

#: Stands for the value of a row that does not exist, or does not have the column.
MISSING: Any = object()


class ShownPair(NamedTuple):
    """Two values of a column.

    Attributes:
        before: The one value, or None if there is none.
        after: The other value, or None if there is none.
        sides: The parts of two texts or of JSON with what differs marked; None for values that differ as a
            whole.
    """

    before: ShownValue | None
    after: ShownValue | None
    sides: Sides | None

    @property
    def is_long(self) -> bool:
        """Whether one of the values is too long for a line."""
        return any(side is not None and side.is_long for side in (self.before, self.after))

    # A template cannot ask for the attributes of None where the setting string_if_invalid is set.
    @property
    def before_pieces(self) -> Sequence[Piece]:
        """The parts of the one value, if both are texts or JSON."""
        return self.sides.before if self.sides is not None else ()

    @property
    def after_pieces(self) -> Sequence[Piece]:
        """The parts of the other value, if both are texts or JSON."""
        return self.sides.after if self.sides is not None else ()


class Formatter:
    """Shows the values of a page.

    Tell it first which rows the page shows (``learn()``, ``learn_changes()``): the names of all rows that
    these refer to are then read with one query for each model.

    Args:
        viewer: The user who reads the page. Whoever asks for ``?raw`` gets columns and values as the log has
            them.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._is_raw = is_raw(viewer)
        self._wanted: dict[_Target, set[Any]] = {}
        self._named: dict[_Target, dict[Any, _Named]] = {}
        self._choices: dict[Any, Choices] = {}
        self._effort = Effort(_PAGE_PAIRS)

    def learn(self, logged: LoggedModel | None, row: Mapping[str, Any]) -> None:
        """Take note of the rows that a row refers to.

        Args:
            logged: The model of the row, or None for a table without one.
            row: Values by column, as JSON has them; masked values may be left in.
        """
        for column, field in _fields(logged.model if logged else None).items():
            value = row.get(column)
            target = self._target(logged, field)
            if target is not None and isinstance(value, (int, str)) and value != MASK:
                self._wanted.setdefault(target, set()).add(value)

    def learn_changes(self, changes: Iterable[Change]) -> None:
        """Take note of the rows that the rows of changes refer to."""
        for change in changes:
            logged = self._viewer.logged_models.model_of(change)
            for side in ("before", "after"):
                self.learn(logged, self._viewer.row(change, side))

    def show(self, logged: LoggedModel | None, column: str, value: Any) -> ShownValue:
        """Return a value as the page shows it.

        Args:
            logged: The model of the row, or None for a table without one.
            column: The column.
            value: The value as JSON has it, or the mask.
        """
        if self._is_raw:
            return stored(value)
        field = _fields(logged.model if logged else None).get(column)
        target = self._target(logged, field)
        if target is not None and isinstance(value, (int, str)) and value != MASK:
            found = self._names(target, value).get(value)
            if found is not None:
                return ShownValue("reference", found[0], str(value), found[1])
        if field not in self._choices:
            # A project may compute them, for instance by a query.
            self._choices[field] = choices_of(field)
        # Who may read the log has the files only of models that they may view.
        is_file = logged is not None and isinstance(field, models.FileField)
        may_open = is_file and logged is not None and self._viewer.may("view", logged.model)
        return shown(field, value, choices=self._choices[field], may_open=may_open)

    def pair(self, logged: LoggedModel | None, column: str, before: Any, after: Any) -> ShownPair:
        """Return two values, compared.

        Args:
            logged: The model of the row, or None for a table without one.
            column: The column.
            before: The one value as JSON has it, the mask, or ``MISSING``.
            after: The other value, likewise.
        """
        one, other = (
            None if value is MISSING else self.show(logged, column, value) for value in (before, after)
        )
        if one is None or other is None:
            only = one or other
            # A whole value has no differences, but may be long.
            parts = whole(only.text) if only is not None and only.is_long else None
            sides = parts and (Sides(parts, []) if one is not None else Sides([], parts))
            return ShownPair(one, other, sides or None)
        if not (_is_compared(one) and _is_compared(other)):
            return ShownPair(*told_apart(one, other), None)
        is_json = isinstance(before, (dict, list)) and isinstance(after, (dict, list))
        field = None if self._is_raw else _fields(logged.model if logged else None).get(column)
        choices = self._choices.get(field, ())
        texts = (
            (labelled(field, before, choices), labelled(field, after, choices))
            if is_json
            else (one.text, other.text)
        )
        sides = differences(*texts, page=self._effort)
        return ShownPair(one, other, folded(sides))

    def name(self, logged: LoggedModel | None, column: str) -> str:
        """Return the name of a column's field, or the column."""
        return column if self._is_raw else field_name(logged.model if logged else None, column)

    def _target(self, logged: LoggedModel | None, field: Any) -> _Target | None:
        """Return what a foreign key refers to, if its rows may be named."""
        if logged is None or not isinstance(field, models.ForeignKey):
            return None
        target: Any = field.remote_field.model
        if self._viewer.masks.hide_model_key(target) or not self._viewer.may("view", target):
            return None
        return _Target(LoggedModel(target, logged.alias), field.target_field)

    def _names(self, target: _Target, value: Any) -> dict[Any, _Named]:
        known = self._named.setdefault(target, {})
        wanted = self._wanted.pop(target, set()) | ({value} - known.keys())
        if wanted - known.keys():
            logged = target.logged
            found = {
                key: instance
                for key, instance in rows_by_value(logged, target.field, wanted, self._viewer).items()
                if self._viewer.may("view", logged.model, instance)
            }
            labels = live_labels(list(found.values()), self._viewer)
            for (key, instance), label in zip(found.items(), labels, strict=True):
                known[key] = (label, self._url(logged, instance))
            self._named[target] = {**dict.fromkeys(wanted), **known}  # type: ignore[dict-item]
        return self._named[target]

    def _url(self, target: LoggedModel, instance: models.Model) -> str | None:
        if target.alias != router.db_for_write(target.model):
            return None
        page = self._viewer.model_url(target.model, "change", quote(instance.pk))
        return page or timeline_url(self._viewer, target.model, key_of(instance))


def is_raw(viewer: Viewer) -> bool:
    """Tell whether a user asks for columns and values as the log has them."""
    return "raw" in viewer.request.GET


def _is_compared(value: ShownValue) -> bool:
    return value.kind in ("text", "json")


def field_name(model: type[models.Model] | None, column: str) -> str:
    """Return the verbose name of a model's field, or the column."""
    field = _fields(model).get(column)
    return str(field.verbose_name) if field is not None else column


def _fields(model: type[models.Model] | None) -> Mapping[str, Any]:
    return {str(field.column): field for field in model._meta.concrete_fields} if model else {}
