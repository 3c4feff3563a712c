"""The answer to what a revert would do. Nothing is written."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError
from django.utils.translation import gettext as _

from bemi_django.admin.display.values.formatter import MISSING
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.admin.pages.reverts.revert_choices import choice_of
from bemi_django.admin.pages.reverts.revert_lines import StepLine, StepRules
from bemi_django.admin.pages.reverts.revert_plan import failure_text
from bemi_django.admin.pages.reverts.revert_selection import selected
from bemi_django.api.api_viewer import ApiViewer
from bemi_django.api.parameters import Given
from bemi_django.api.problems import ApiProblem, refused
from bemi_django.exceptions import BemiError
from bemi_django.site_past.reasons import reason_in_text

#: How the changes to revert are named.
WAYS = ("change", "transaction", "request", "since", "undo")


def plan(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return the plan of a revert."""
    named = [way for way in WAYS if given[way] is not None]
    if len(named) != 1:
        raise refused({way: [_("Give exactly one of %s.") % comma_list(WAYS)] for way in named or WAYS})
    try:
        selection = selected(viewer)
    except BemiError as error:
        raise ApiProblem(409, reason_in_text(error, viewer.request.user)) from None
    rules = StepRules(viewer, selection.change.database, selection.changes)
    try:
        choice = choice_of(selection, rules, given["on_conflict"], given["field"] or None)
    except (BemiError, DatabaseError, RecursionError) as error:
        raise ApiProblem(409, failure_text(viewer, error)) from None
    return {
        "label": str(selection.label),
        "digest": choice.plan.digest,
        "is_allowed": choice.is_allowed,
        "has_conflicts": bool(choice.plan.conflicts),
        "steps": [_step(line, rules) for line in choice.lines],
    }


def _step(line: StepLine, rules: StepRules) -> dict[str, Any]:
    step = line.step
    conflict = step.conflict
    # Of a row outside the viewer's scope, nothing is said but its table.
    is_seen = line.key is not None
    return {
        "schema": step.schema,
        "table": step.table,
        "primary_key": line.key,
        "action": step.action,
        "values": [_value(line, rules, column) for column in sorted(step.values)] if is_seen else [],
        "conflict": {"kind": conflict.kind, "text": str(line.conflict), "is_forcible": conflict.is_forcible}
        if conflict is not None and is_seen
        else None,
        "consequences": [str(text) for text in line.consequences],
        "is_allowed": line.is_allowed,
        "changes": [change.pk for change in step.changes] if is_seen else [],
    }


def _value(line: StepLine, rules: StepRules, column: str) -> dict[str, Any]:
    now, then = rules.stored(line.step, column, line.step.values[column])
    return {
        "column": column,
        "label": str(rules.label(line.step, column)),
        "now": None if now is MISSING else now,
        "becomes": then,
    }
