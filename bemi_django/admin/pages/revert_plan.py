"""The pages that revert a change, a transaction or a request: the plan, and its execution."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.http import Http404, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.change_detail import in_request, in_transaction
from bemi_django.admin.pages.revert_lines import StepLine, hides_values, step_lines
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.exceptions import BemiError, RevertConflict, first_line
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import alias_of
from bemi_django.models import Change
from bemi_django.revert import OnConflict, Plan, Step

#: The plan is held in memory, so more changes than this are reverted with the command.
MOST = 2000
_MODES: tuple[OnConflict, ...] = ("stop", "skip", "force")


class RevertSelection(NamedTuple):
    """The changes to revert, the change whose page links here, and a label for both."""

    changes: ChangeQuerySet
    change: Change
    label: str


class PlansChanged(Exception):
    """The plan that was applied is not the one that the user confirmed."""


class Choice(NamedTuple):
    """What one way to treat conflicts would do.

    Attributes:
        changes: The changes to revert; those of rows that the user may not write can be left out.
        plan: The plan.
        lines: The steps of the plan.
    """

    changes: ChangeQuerySet
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


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template that shows the plan."""
    selection = _selection(viewer)
    try:
        return _shown(viewer, selection, _choices(viewer, selection))
    except (BemiError, DatabaseError, RecursionError) as error:
        return _failed(viewer, selection, error)


def apply(viewer: Viewer) -> HttpResponseRedirect | dict[str, Any]:
    """Apply the plan that the user confirmed, or nothing.

    Returns:
        A redirect to the change, or the context of the template if the plan is different now or fails.
    """
    selection = _selection(viewer)
    mode = viewer.request.POST.get("on_conflict", "stop")
    if mode not in _MODES:
        raise Http404
    try:
        choices = _choices(viewer, selection)
        choice = choices.get(mode, choices["stop"])
        if not choice.is_allowed:
            raise PermissionDenied
        if viewer.request.POST.get("digest") != _digest(choices):
            return _again(viewer, selection)
        if any(line.is_readonly for line in choice.lines):
            return {**_shown(viewer, selection, choices), "error": _("Nothing was reverted.")}
        done = _apply(selection, choice, mode)
    except PlansChanged:
        return _again(viewer, selection)
    except RevertConflict:
        found = _shown(viewer, selection, _choices(viewer, selection))
        return {**found, "error": _("Nothing was reverted.")}
    except (BemiError, DatabaseError, RecursionError) as error:
        return _failed(viewer, selection, error)
    _report(viewer, sum(step.is_done for step in done.steps))
    return HttpResponseRedirect(viewer.url("change", selection.change.pk))


def _apply(selection: RevertSelection, choice: Choice, mode: Any) -> Plan:
    """Apply a plan. Raises PlansChanged, after which nothing is written, if it would do anything else."""
    with transaction.atomic(using=alias_of(selection.change.database)):
        done = choice.changes.revert(on_conflict=mode)
        confirmed = {_digest_of(step) for step in choice.plan.steps if step.conflict is None}
        if not {_digest_of(step) for step in done.steps if step.is_done} <= confirmed:
            raise PlansChanged
    return done


def _again(viewer: Viewer, selection: RevertSelection) -> dict[str, Any]:
    note = _("The rows have changed in the meantime. Review the plan again.")
    return {**_shown(viewer, selection, _choices(viewer, selection)), "error": note}


def _report(viewer: Viewer, count: int) -> None:
    if count:
        text = ngettext("%(count)d row reverted.", "%(count)d rows reverted.", count) % {"count": count}
        messages.success(viewer.request, f"{text} {_('The log will show the changes shortly.')}")
    else:
        messages.warning(viewer.request, _("Nothing was reverted."))


def _failed(viewer: Viewer, selection: RevertSelection, error: Exception) -> dict[str, Any]:
    is_hidden = hides_values(viewer, read_changes(selection.changes[:MOST]))
    text = _("The database refuses the change.") if is_hidden else first_line(error)
    return {"selection": selection, "query": viewer.request.GET.urlencode(), "error": text}


def _selection(viewer: Viewer) -> RevertSelection:
    if not viewer.has("revert"):
        raise PermissionDenied
    for name in ("change", "transaction", "request"):
        if viewer.request.GET.get(name):
            change = _change(viewer, viewer.request.GET[name])
            break
    else:
        raise Http404
    own = viewer.changes().filter(pk=change.pk)
    if name == "change":
        label = _("Restore the object") if change.operation == "DELETE" else _("Revert the change")
        return RevertSelection(own, change, label)
    others = in_transaction(change, viewer)
    if name == "request":
        same = in_request(change, viewer)
        if same is None:
            raise Http404
        others = others.context({"request_id": change.context["request_id"]}) | same
        return RevertSelection(own | others, change, _("Revert the request"))
    return RevertSelection(own | others, change, _("Revert the transaction"))


def _change(viewer: Viewer, text: str) -> Change:
    try:
        found = read_changes(viewer.changes().filter(pk=UUID(text)))
    except ValueError:
        found = []
    if not found:
        raise Http404
    return found[0]


def _choices(viewer: Viewer, selection: RevertSelection) -> dict[str, Choice]:
    """Return what each way to treat conflicts would do. Without conflicts, there is only one."""
    if len(selection.changes[: MOST + 1]) > MOST:
        raise BemiError(_("There are too many changes to revert on a page. Use 'manage.py bemi revert'."))
    found = {"stop": _choice(viewer, selection.changes, "stop")}
    lines = found["stop"].lines
    if any(line.conflict for line in lines):
        blocked = [change.pk for line in lines if line.is_readonly for change in line.step.changes]
        found["skip"] = _choice(viewer, selection.changes.exclude(pk__in=blocked), "skip")
    if any(line.step.conflict and line.step.conflict.is_forcible for line in lines):
        found["force"] = _choice(viewer, selection.changes, "force")
    return found


def _choice(viewer: Viewer, changes: ChangeQuerySet, mode: OnConflict) -> Choice:
    plan = changes.revert(dry_run=True, on_conflict=mode)
    return Choice(changes, plan, step_lines(viewer, plan))


def _shown(viewer: Viewer, selection: RevertSelection, choices: dict[str, Choice]) -> dict[str, Any]:
    stop = choices["stop"]
    forced = choices.get("force")
    conflicts = [line for line in stop.lines if line.conflict]
    modes = [
        mode
        for mode, choice in choices.items()
        if choice.actions
        and choice.is_allowed
        and not any(line.is_readonly for line in choice.lines)
        and (mode == "skip" or not any(line.conflict for line in choice.lines))
    ]
    by_row = {_row(line.step): line for line in forced.actions} if forced else {}
    return {
        "selection": selection,
        "query": viewer.request.GET.urlencode(),
        "conflicts": conflicts,
        "forced": [(line, by_row.get(_row(line.step))) for line in conflicts],
        "actions": stop.actions,
        "modes": modes,
        "may_apply": bool(modes),
        "is_forbidden": not stop.is_allowed,
        "digest": _digest(choices),
    }


def _row(step: Step) -> tuple[str, str, str | None]:
    return (step.schema, step.table, step.primary_key)


def _digest(choices: dict[str, Choice]) -> str:
    """Return a digest of everything that the plans do."""
    found = [
        [mode, [[_digest_of(step), str(step.conflict)] for step in choice.plan.steps]]
        for mode, choice in choices.items()
    ]
    return hashlib.sha256(dumps(found).encode()).hexdigest()


def _digest_of(step: Step) -> str:
    return dumps([*_row(step), step.action, dict(step.values)])
