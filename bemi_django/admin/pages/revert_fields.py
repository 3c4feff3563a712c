"""The fields of a row that a change updated: now, as they become, and which of them to put back."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from django.http import QueryDict

from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import brief
from bemi_django.admin.display.foreign_keys import referenced_labels
from bemi_django.admin.display.value_diff import Sides, differences
from bemi_django.admin.pages.revert_lines import StepRules
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.revert import OnConflict, Plan, Step, revert

#: Each field is planned on its own; a row with more changed fields is reverted as a whole.
MOST_FIELDS = 30


class FieldLine(NamedTuple):
    """A field that can be put back.

    Attributes:
        column: The column.
        label: The name of the field.
        sides: The present value and the one that it gets.
        becomes: The one that it gets, in a few characters.
        conflict: Why the field is in conflict, or an empty string.
        is_possible: Whether it can be put back, if need be by overwriting.
        is_chosen: Whether it is chosen at first.
    """

    column: str
    label: str
    sides: Sides
    becomes: str
    conflict: str
    is_possible: bool
    is_chosen: bool


class FieldChoice(NamedTuple):
    """The fields that a user chose."""

    fields: list[str]
    mode: OnConflict


def chosen_fields(posted: QueryDict) -> FieldChoice:
    """Return what the form of the fields was sent with: fields to put back, and others to overwrite."""
    overwritten = posted.getlist("overwrite")
    return FieldChoice([*posted.getlist("fields"), *overwritten], "force" if overwritten else "stop")


def field_lines(
    viewer: Viewer, changes: ChangeQuerySet, change: Change, plan: Plan, rules: StepRules
) -> list[FieldLine]:
    """Return the fields that can be chosen; none if the plan is not to update the row of one change.

    Args:
        viewer: The user who chooses.
        changes: The change as a query.
        change: The change.
        plan: The plan of all fields.
        rules: What the user may see and do.
    """
    if change.operation != "UPDATE" or len(plan.steps) != 1:
        return []
    (step,) = plan.steps
    is_update = step.action == "update" and step.current is not None and 0 < len(step.values) <= MOST_FIELDS
    if not is_update or not all(line.is_allowed for line in rules.lines(plan)):
        return []
    asked = [name for name in viewer.request.GET.getlist("field") if name in step.values]
    return [_line(viewer, changes, change, step, column, asked, rules) for column in sorted(step.values)]


def _line(
    viewer: Viewer,
    changes: ChangeQuerySet,
    change: Change,
    step: Step,
    column: str,
    asked: Collection[str],
    rules: StepRules,
) -> FieldLine:
    plan = revert(changes, dry_run=True, fields=[column], is_read_only=rules.is_read_only)
    conflict = next(iter(plan.conflicts), None)
    reasons = [line.conflict for line in rules.lines(plan) if line.conflict]
    now, then = _values(viewer, change, column, (step.current or {}).get(column), step.values[column])
    is_possible = conflict is None or conflict.is_forcible
    return FieldLine(
        column,
        _label(viewer, change, column),
        differences(now, then),
        brief(then),
        reasons[0] if reasons else "",
        is_possible,
        is_possible and (column in asked if asked else conflict is None),
    )


def _field(viewer: Viewer, change: Change, column: str) -> Any:
    logged = viewer.logged_models.model_of(change)
    own = logged.model._meta.concrete_fields if logged else ()
    return next((field for field in own if field.column == column), None)


def _label(viewer: Viewer, change: Change, column: str) -> str:
    field = _field(viewer, change, column)
    return str(field.verbose_name) if field is not None else column


def _values(viewer: Viewer, change: Change, column: str, now: Any, then: Any) -> tuple[Any, Any]:
    if viewer.masks.hide_column(change.schema, change.table, column):
        return MASK, MASK
    logged, field = viewer.logged_models.model_of(change), _field(viewer, change, column)
    names = referenced_labels(viewer, field, logged.alias, (now, then)) if logged and field else {}
    # Only keys of rows are named, and only these are sure to be hashable.
    return (names.get(now, now), names.get(then, then)) if names else (now, then)
