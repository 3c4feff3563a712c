"""The fields of a row that a change updated: now, as they become, and which of them to put back."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from django.http import QueryDict

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.formatter import ShownPair
from bemi_django.admin.pages.reverts.revert_lines import StepRules
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
        pair: The present value and the one that it gets.
        becomes: The one that it gets, in a few characters.
        conflict: Why the field is in conflict, or an empty string.
        is_possible: Whether it can be put back, if need be by overwriting.
        is_chosen: Whether it is chosen at first.
    """

    column: str
    label: str
    pair: ShownPair
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
    if len(plan.steps) != 1:
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
    pair = rules.pair(step, column, step.values[column])
    is_possible = conflict is None or conflict.is_forcible
    return FieldLine(
        column,
        rules.label(step, column),
        pair,
        pair.after.brief if pair.after else "",
        reasons[0] if reasons else "",
        is_possible,
        is_possible and (column in asked if asked else conflict is None),
    )
