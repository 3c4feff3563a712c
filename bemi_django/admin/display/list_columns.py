"""The columns of the lists of rows and actions, which a subclass of ``ChangeAdmin`` can choose and add to."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin.checks import ModelAdminChecks
from django.contrib.admin.utils import display_for_value, label_for_field, lookup_field
from django.utils.text import capfirst

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action_lines import ListedAction
from bemi_django.admin.display.change_rows import BUILT_IN, ListedCell, ListedRow
from bemi_django.models import Change

_NAMES = [cell.name for cell in BUILT_IN]


class ChangeAdminChecks(ModelAdminChecks):
    """The checks of a ``ModelAdmin`` that know the columns of the list."""

    def _check_list_display_item(self, obj: Any, item: Any, label: str) -> list[Any]:
        check: Any = super()
        found: list[Any] = check._check_list_display_item(obj, item, label)
        return [] if item in _NAMES else found


def with_columns(
    rows: Iterable[ListedRow], model_admin: Any, names: Iterable[Any], viewer: Viewer
) -> Iterator[ListedRow]:
    """Yield rows with the columns of a ``ModelAdmin``.

    Args:
        rows: The rows.
        model_admin: The admin of the log.
        names: Its ``list_display``: names of columns, of methods or of fields of a change, or functions.
        viewer: Who sees them.
    """
    known = {cell.name: cell for cell in BUILT_IN}
    labels = {name: _label(name, model_admin) for name in names if name not in known}
    for row in rows:
        change = shown_change(row.change, viewer) if labels else row.change
        cells = [known.get(name) or _cell(name, labels[name], change, model_admin) for name in names]
        yield row._replace(cells=cells)


def with_own_columns(
    actions: Iterable[ListedAction], model_admin: Any, names: Iterable[Any], viewer: Viewer
) -> Iterator[ListedAction]:
    """Yield actions with the project's own columns, of which those without a value are left out.

    What all changes of an action have in common, such as a value of their context, is said of the action.

    Args:
        actions: The actions.
        model_admin: The admin of the log.
        names: Its ``list_display``.
        viewer: Who sees them.
    """
    own = [name for name in names if name not in _NAMES]
    for action in actions:
        rows = list(with_columns(action.rows, model_admin, own, viewer)) if own else []
        if not rows:
            yield action
            continue
        first, *others = rows
        is_whole = not action.hidden
        common = [cell for cell in first.cells if is_whole and all(cell in row.cells for row in others)]
        told = [
            row._replace(cells=[cell for cell in row.cells if not (cell.is_empty or cell in common)])
            for row in rows
        ]
        yield action._replace(rows=told, own=[cell for cell in common if not cell.is_empty])


def shown_change(change: Change, viewer: Viewer) -> Change:
    """Return a copy of a change that has masks in place of what is hidden from the viewer."""
    shown = copy.copy(change)
    shown.primary_key, shown.previous_primary_key = viewer.key(change), viewer.previous_key(change)
    shown.before, shown.after = viewer.row(change, "before"), viewer.row(change, "after")
    shown.context = viewer.context(change)
    return shown


def _label(name: Any, model_admin: Any) -> str:
    return capfirst(str(label_for_field(name, Change, model_admin)))


def _cell(name: Any, label: str, change: Change, model_admin: Any) -> ListedCell:
    _field, attribute, value = lookup_field(name, change, model_admin)
    empty = getattr(attribute, "empty_value_display", model_admin.get_empty_value_display())
    shown = display_for_value(value, empty, getattr(attribute, "boolean", False))
    return ListedCell(getattr(name, "__name__", name), label, shown, value in (None, ""))
