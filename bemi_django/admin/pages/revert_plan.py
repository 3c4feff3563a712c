"""The pages that revert a change, a transaction or a request: the plan, and its execution."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.change_detail import in_request, in_transaction
from bemi_django.admin.pages.revert_lines import StepLine, StepRules
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.exceptions import BemiError, PlanChanged, RevertConflict, first_line
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.revert import OnConflict, Plan, revert

#: The plan is held in memory, so more changes than this are reverted with the command.
MOST = 2000
_MODES: tuple[OnConflict, ...] = ("stop", "skip", "force")


class RevertSelection(NamedTuple):
    """The changes to revert, the change whose page links here, and a label for both."""

    changes: ChangeQuerySet
    change: Change
    label: str


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


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template that shows the plan."""
    selection = _selection(viewer)
    try:
        return _shown(viewer, selection)
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
        done = _apply(viewer, selection, mode)
    except PlanChanged:
        note = _("The rows have changed in the meantime. Review the plan again.")
        return {**_shown(viewer, selection), "error": note}
    except RevertConflict:
        return {**_shown(viewer, selection), "error": _("Nothing was reverted.")}
    except (BemiError, DatabaseError, RecursionError) as error:
        return _failed(viewer, selection, error)
    _report(viewer, sum(step.is_done for step in done.steps))
    return HttpResponseRedirect(viewer.url("change", selection.change.pk))


def _apply(viewer: Viewer, selection: RevertSelection, mode: OnConflict) -> Plan:
    rules = StepRules(viewer, selection.change.database)

    def check(plan: Plan) -> None:
        if not rules.are_allowed(plan):
            raise PermissionDenied

    _refuse_too_many(selection)
    digests = dict(part.partition("=")[::2] for part in viewer.request.POST.get("digest", "").split(","))
    return revert(
        selection.changes,
        on_conflict=mode,
        check=check,
        digest=digests.get(mode, ""),
        is_read_only=rules.is_read_only,
    )


def _report(viewer: Viewer, count: int) -> None:
    if count:
        text = ngettext("%(count)d row reverted.", "%(count)d rows reverted.", count) % {"count": count}
        messages.success(viewer.request, f"{text} {_('The log will show the changes shortly.')}")
    else:
        messages.warning(viewer.request, _("Nothing was reverted."))


def _failed(viewer: Viewer, selection: RevertSelection, error: Exception) -> dict[str, Any]:
    rules = StepRules(viewer, selection.change.database)
    is_hidden = rules.hide_values(read_changes(selection.changes[:MOST]))
    text = _("The database refuses the change.") if is_hidden else first_line(error)
    return {**_common(viewer, selection), "error": text}


def _common(viewer: Viewer, selection: RevertSelection) -> dict[str, Any]:
    return {
        "selection": selection,
        "query": viewer.request.GET.urlencode(),
        "crumbs": [(_("Change"), viewer.url("change", selection.change.pk)), (selection.label, None)],
    }


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


def _refuse_too_many(selection: RevertSelection) -> None:
    if len(selection.changes[: MOST + 1]) > MOST:
        raise BemiError(_("There are too many changes to revert on a page. Use 'manage.py bemi revert'."))


def _choices(viewer: Viewer, selection: RevertSelection) -> dict[str, Choice]:
    """Return what each way to treat conflicts would do. Without conflicts, they all do the same."""
    _refuse_too_many(selection)
    rules = StepRules(viewer, selection.change.database)
    found: dict[str, Choice] = {}
    for mode in _MODES:
        plan = revert(selection.changes, dry_run=True, on_conflict=mode, is_read_only=rules.is_read_only)
        found[mode] = Choice(plan, rules.lines(plan))
        if mode == "stop" and not plan.conflicts:
            return dict.fromkeys(_MODES, found["stop"])
    return found


def _shown(viewer: Viewer, selection: RevertSelection) -> dict[str, Any]:
    choices = _choices(viewer, selection)
    stop = choices["stop"]
    conflicts = [line for line in stop.lines if line.conflict]
    modes = [
        mode
        for mode, choice in choices.items()
        if choice.actions and choice.is_allowed and (mode == "skip" or not choice.plan.conflicts)
    ]
    return {
        **_common(viewer, selection),
        "conflicts": conflicts,
        "actions": stop.actions,
        "modes": modes,
        "is_forbidden": bool(stop.lines) and not any(choice.is_allowed for choice in choices.values()),
        "digest": ",".join(f"{mode}={choice.plan.digest}" for mode, choice in choices.items()),
    }
