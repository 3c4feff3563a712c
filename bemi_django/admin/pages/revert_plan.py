"""The pages that revert a change, a transaction or a request: the plan, and its execution."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, models, transaction
from django.http import Http404, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bemi_django.admin.access.logged_models import LoggedModel, LoggedModels
from bemi_django.admin.access.viewer import MASK, Viewer
from bemi_django.admin.display.change_rows import brief
from bemi_django.admin.display.object_labels import live_instances
from bemi_django.admin.pages.change_detail import in_request, in_transaction
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.exceptions import BemiError, RevertConflict, first_line
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import alias_of
from bemi_django.models import Change
from bemi_django.revert import Plan, Step

#: The plan is held in memory, so more changes than this are reverted with the command.
MOST = 2000
_ACTIONS = {"insert": "add", "update": "change", "delete": "delete"}


class RevertSelection(NamedTuple):
    """The changes to revert, the change whose page links here, and a label for both."""

    changes: ChangeQuerySet
    change: Change
    label: str


class StepLine(NamedTuple):
    """A step of the plan as the page shows it; ``values`` are (column, present value, new value)."""

    step: Step
    object: str
    values: list[tuple[str, str, str]]
    is_allowed: bool


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template that shows the plan."""
    wanted = _selection(viewer)
    try:
        return _shown(viewer, wanted, _plan(wanted))
    except (BemiError, DatabaseError, RecursionError) as error:
        return {"selection": wanted, "query": viewer.request.GET.urlencode(), "error": first_line(error)}


def apply(viewer: Viewer) -> HttpResponseRedirect | dict[str, Any]:
    """Apply the plan that the user confirmed.

    Returns:
        A redirect to the change, or the context of the template if the plan is different now or fails.
    """
    wanted = _selection(viewer)
    how = viewer.request.POST.get("on_conflict", "stop")
    if how not in ("stop", "skip", "force"):
        raise Http404
    try:
        alias = alias_of(wanted.change.database)
        with transaction.atomic(using=alias):
            plan = _plan(wanted)
            lines = _lines(viewer, plan)
            if not all(line.is_allowed for line in lines):
                raise PermissionDenied
            if viewer.request.POST.get("digest") != _digest(plan):
                note = _("The rows have changed in the meantime. Review the plan again.")
                return {**_shown(viewer, wanted, plan), "error": note}
            done = wanted.changes.revert(on_conflict=how)  # type: ignore[arg-type]
    except RevertConflict as error:
        return {**_shown(viewer, wanted, error.plan), "error": _("Nothing was reverted.")}
    except (BemiError, DatabaseError, RecursionError) as error:
        return {"selection": wanted, "query": viewer.request.GET.urlencode(), "error": first_line(error)}
    count = sum(step.is_done for step in done.steps)
    text = ngettext("%(count)d row reverted.", "%(count)d rows reverted.", count) % {"count": count}
    messages.success(viewer.request, f"{text} {_('The log will show the changes shortly.')}")
    return HttpResponseRedirect(reverse("admin:bemi_django_change_change", args=[wanted.change.pk]))


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


def _plan(wanted: RevertSelection) -> Plan:
    if len(wanted.changes[: MOST + 1]) > MOST:
        raise BemiError(_("There are too many changes to revert on a page. Use 'manage.py bemi revert'."))
    return wanted.changes.revert(dry_run=True)


def _shown(viewer: Viewer, wanted: RevertSelection, plan: Plan) -> dict[str, Any]:
    lines = _lines(viewer, plan)
    conflicts = [line for line in lines if line.step.conflict]
    actions = [line for line in lines if line.step.action != "nothing" and not line.step.conflict]
    return {
        "selection": wanted,
        "query": viewer.request.GET.urlencode(),
        "conflicts": conflicts,
        "actions": actions,
        "is_forcible": any(line.step.conflict and line.step.conflict.is_forcible for line in conflicts),
        "may_apply": bool(actions or conflicts) and all(line.is_allowed for line in lines),
        "is_forbidden": not all(line.is_allowed for line in lines),
        "digest": _digest(plan),
    }


def _lines(viewer: Viewer, plan: Plan) -> list[StepLine]:
    tables = LoggedModels()
    places = [tables.model_of(step.changes[0]) if step.changes else None for step in plan.steps]
    seen = _seen(viewer, plan)
    rows = _live(plan, places)
    return [
        _line(viewer, place, step, rows, is_seen={change.pk for change in step.changes} <= seen)
        for place, step in zip(places, plan.steps, strict=True)
    ]


def _seen(viewer: Viewer, plan: Plan) -> set[Any]:
    """Return the changes of the plan within the viewer's scope; cascades may add others."""
    wanted = {change.pk for step in plan.steps for change in step.changes}
    return set(viewer.changes().filter(pk__in=wanted).values_list("pk", flat=True))


def _live(plan: Plan, places: list[LoggedModel | None]) -> dict[tuple[LoggedModel, str], models.Model]:
    keys: dict[LoggedModel, set[str]] = {}
    for place, step in zip(places, plan.steps, strict=True):
        if place and step.primary_key is not None:
            keys.setdefault(place, set()).add(step.primary_key)
    return {
        (place, key): row
        for place, wanted in keys.items()
        for key, row in live_instances(place, wanted).items()
    }


def _line(
    viewer: Viewer,
    place: LoggedModel | None,
    step: Step,
    rows: dict[tuple[LoggedModel, str], models.Model],
    *,
    is_seen: bool,
) -> StepLine:
    name = str(place.model._meta.verbose_name) if place else f"{step.schema}.{step.table}"
    if not is_seen:
        return StepLine(step, name, [], is_allowed=False)
    if place is None:
        is_allowed = bool(viewer.request.user.is_superuser)
    else:
        instance = rows.get((place, step.primary_key or ""))
        is_allowed = viewer.may(_ACTIONS.get(step.action, "change"), place.model, instance)
    hidden = {column for column in step.values if viewer.is_masked(step.schema, step.table, column)}
    values = [
        (
            column,
            MASK if column in hidden else brief((step.current or {}).get(column)),
            MASK if column in hidden else brief(value),
        )
        for column, value in step.values.items()
    ]
    is_hidden_key = step.primary_key in {str(step.values[column]) for column in hidden}
    return StepLine(step, f"{name} {MASK if is_hidden_key else step.primary_key or ''}", values, is_allowed)


def _digest(plan: Plan) -> str:
    """Return a digest of everything that the plan does."""
    found = [
        [step.schema, step.table, step.primary_key, step.action, dict(step.values), str(step.conflict)]
        for step in plan.steps
    ]
    return hashlib.sha256(dumps(found).encode()).hexdigest()
