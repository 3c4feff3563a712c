"""The fields of a row that a change updated: now, as they become, and which of them to put back."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from django.http import QueryDict

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.formatter import ShownPair
from bemi_django.admin.pages.reverts.revert_lines import StepRules
from bemi_django.admin.pages.reverts.revert_members import RevertMembers
from bemi_django.admin.pages.reverts.revert_selection import RevertSelection
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


def field_lines(viewer: Viewer, selection: RevertSelection, plan: Plan, rules: StepRules) -> list[FieldLine]:
    """Return the fields that can be chosen; none if the plan is not to update the row of one object.

    The many-to-many fields of a version are chosen beside those of the row.

    Args:
        viewer: The user who chooses.
        selection: What is reverted.
        plan: The plan of all fields.
        rules: What the user may see and do.
    """
    members = RevertMembers(viewer, selection.change, plan.steps if selection.way == "since" else ())
    others = {step for steps in members.steps.values() for step in steps}
    own = [step for step in plan.steps if step not in others and (step.action != "nothing" or step.conflict)]
    if (
        len(own) > 1
        or not all(map(_is_update, own))
        or not all(line.is_allowed for line in rules.lines(plan))
    ):
        return []
    asked = [name for step in own for name in viewer.request.GET.getlist("field") if name in step.values]
    found = [
        (column, rules.label(step, column), rules.pair(step, column, step.values[column]))
        for step in own
        for column in sorted(step.values)
    ]
    for field, steps in members.steps.items():
        if any(step.action != "nothing" for step in steps):
            found.append((field.name, str(field.verbose_name), members.pair(field)))
    return [_line(selection, *each, asked, rules) for each in found]


def _is_update(step: Step) -> bool:
    return step.action == "update" and step.current is not None and 0 < len(step.values) <= MOST_FIELDS


def _line(
    selection: RevertSelection,
    column: str,
    label: str,
    pair: ShownPair,
    asked: Collection[str],
    rules: StepRules,
) -> FieldLine:
    plan = revert(selection.changes, dry_run=True, fields=[column], is_read_only=rules.is_read_only)
    conflict = next(iter(plan.conflicts), None)
    reasons = [line.conflict for line in rules.lines(plan) if line.conflict]
    is_possible = conflict is None or conflict.is_forcible
    return FieldLine(
        column,
        label,
        pair,
        pair.after.brief if pair.after else "",
        reasons[0] if reasons else "",
        is_possible,
        is_possible and (column in asked if asked else conflict is None),
    )
