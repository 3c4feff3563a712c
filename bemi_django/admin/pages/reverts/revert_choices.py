"""What each way to treat conflicts would do: the plans among which a page offers to choose."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.reverts.revert_lines import StepLine, StepRules
from bemi_django.admin.pages.reverts.revert_selection import RevertSelection
from bemi_django.exceptions import BemiError
from bemi_django.revert import OnConflict, Plan, revert

#: The plan is held in memory, so more changes than this are reverted with the command.
MOST = 2000
MODES: tuple[OnConflict, ...] = ("stop", "skip", "force")


class Choice(NamedTuple):
    """What one way to treat conflicts would do: the plan and its steps."""

    plan: Plan
    lines: list[StepLine]

    @property
    def actions(self) -> list[StepLine]:
        """The steps that do something."""
        return [line for line in self.lines if line.is_action]

    @property
    def is_allowed(self) -> bool:
        """Whether the user has the permissions for all steps."""
        return all(line.is_allowed for line in self.lines)


def refuse_too_many(selection: RevertSelection) -> None:
    """Check that a plan for the changes can be held in memory.

    Raises:
        BemiError: There are too many.
    """
    if len(selection.changes[: MOST + 1]) > MOST:
        raise BemiError(_("There are too many changes to revert on a page. Use 'manage.py bemi revert'."))


def choice_of(
    selection: RevertSelection, rules: StepRules, mode: OnConflict, fields: list[str] | None = None
) -> Choice:
    """Return what a way to treat conflicts would do.

    Args:
        selection: What is reverted.
        rules: What the user may see and do.
        mode: How conflicts are treated.
        fields: The columns to put back, or None for all.

    Raises:
        BemiError: If there is no plan, as for too many changes.
        DatabaseError: If the database refuses it.
    """
    refuse_too_many(selection)
    plan = revert(
        selection.changes, dry_run=True, on_conflict=mode, is_read_only=rules.is_read_only, fields=fields
    )
    return Choice(plan, rules.lines(plan))


def choices_of(viewer: Viewer, selection: RevertSelection) -> dict[str, Choice]:
    """Return what each way to treat conflicts would do. Without conflicts, they all do the same."""
    rules = StepRules(viewer, selection.change.database, selection.changes)
    found: dict[str, Choice] = {}
    for mode in MODES:
        found[mode] = choice_of(selection, rules, mode)
        plan = found[mode].plan
        if mode == "stop" and not plan.conflicts:
            return dict.fromkeys(MODES, found["stop"])
    return found
