"""The pages that revert a change, a transaction or a request: the plan, and its execution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404, HttpResponseRedirect
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from bemi_django.admin.access.own_events import note
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import Actors, why
from bemi_django.admin.display.object_labels import ObjectLabels
from bemi_django.admin.display.values.text_lists import semicolon_list
from bemi_django.admin.pages.reverts.conflict_words import hides_errors
from bemi_django.admin.pages.reverts.revert_choices import MODES, choices_of, refuse_too_many
from bemi_django.admin.pages.reverts.revert_fields import chosen_fields, field_lines
from bemi_django.admin.pages.reverts.revert_lines import StepRules, pruned_tables
from bemi_django.admin.pages.reverts.revert_selection import RevertSelection, came_from, selected
from bemi_django.exceptions import BemiError, HistoryError, PlanChanged, RevertConflict, first_line
from bemi_django.revert import OnConflict, Plan, revert
from bemi_django.site_past.reasons import reason_in_text, reason_of

#: The number of rows that are named with what the server says of them.
_NAMED = 5
#: The length of a reason.
MOST_CHARACTERS = 500


def template_context(viewer: Viewer) -> HttpResponseRedirect | dict[str, Any]:
    """Return the context of the template that shows the plan.

    If the log does not have what is to be reverted, a message says so where one came from.
    """
    try:
        selection = selected(viewer)
    except BemiError as error:
        return _turned_back(viewer, error)
    try:
        return _shown(viewer, selection)
    except (BemiError, DatabaseError, RecursionError) as error:
        return _failed(viewer, selection, error)


def apply(viewer: Viewer) -> HttpResponseRedirect | dict[str, Any]:
    """Apply the plan that the user confirmed, or nothing.

    Returns:
        A redirect to where one came from; or the context of the template, if the plan is different or fails.
    """
    try:
        selection = selected(viewer)
    except BemiError as error:
        return _turned_back(viewer, error)
    posted = viewer.request.POST
    mode, fields = posted.get("on_conflict", "stop"), None
    if "by_field" in posted:
        fields, mode = chosen_fields(posted)
    if mode not in MODES:
        raise Http404
    if fields == []:
        return {**_shown(viewer, selection), "error": _("Choose at least one field.")}
    try:
        done = _apply(viewer, selection, mode, fields)
    except PlanChanged:
        note = _("The rows have changed in the meantime. Review the plan again.")
        return {**_shown(viewer, selection), "error": note}
    except RevertConflict as error:
        refused = _refused(viewer, selection, error.plan)
        return {**_shown(viewer, selection), "error": _nothing_done(refused)}
    except (BemiError, DatabaseError, RecursionError) as error:
        return _failed(viewer, selection, error)
    _note(viewer, selection, sum(step.is_done for step in done.steps))
    _report(viewer, selection, done)
    return HttpResponseRedirect(selection.back)


def _turned_back(viewer: Viewer, error: BemiError) -> HttpResponseRedirect:
    messages.warning(viewer.request, reason_of(error, viewer.request.user))
    return HttpResponseRedirect(came_from(viewer) or viewer.url("changelist"))


def _apply(viewer: Viewer, selection: RevertSelection, mode: OnConflict, fields: list[str] | None) -> Plan:
    rules = StepRules(viewer, selection.change.database, selection.changes)

    def check(plan: Plan) -> None:
        if not rules.are_allowed(plan):
            raise PermissionDenied

    refuse_too_many(selection)
    digests = dict(part.partition("=")[::2] for part in viewer.request.POST.get("digest", "").split(","))
    return revert(
        selection.changes,
        on_conflict=mode,
        check=check,
        digest=digests.get(mode, ""),
        is_read_only=rules.is_read_only,
        fields=fields,
        reason=_storable(viewer.request.POST.get("reason", "")),
    )


def _storable(text: str) -> str:
    """Return a text as a context holds it."""
    return text.replace("\0", "").strip()[:MOST_CHARACTERS]


def _note(viewer: Viewer, selection: RevertSelection, count: int) -> None:
    reason = _storable(viewer.request.POST.get("reason", ""))
    note("reverted", what=selection.way, change=str(selection.change.pk), rows=count, reason=reason or None)


def _report(viewer: Viewer, selection: RevertSelection, done: Plan) -> None:
    count = sum(step.is_done for step in done.steps)
    refused = _refused(viewer, selection, done)
    if not count:
        messages.warning(viewer.request, _nothing_done(refused))
        return
    if refused:
        messages.warning(viewer.request, _("Not reverted: %s") % refused)
    text = ngettext("%(number)s row reverted.", "%(number)s rows reverted.", count)
    # The revert is found by what it reverted: it is not in the log yet.
    (first, *_others) = next(step.changes for step in done.steps if step.is_done)
    query = urlencode({"undo": str(first.pk), "next": selection.back})
    messages.success(
        viewer.request,
        format_html(
            '{} {} <a href="{}?{}">{}</a>',
            text % {"number": number_format(count, force_grouping=True)},
            _("The log will show the changes shortly."),
            viewer.url("revert"),
            query,
            _("Undo"),
        ),
    )


def _refused(viewer: Viewer, selection: RevertSelection, plan: Plan) -> str:
    """Return the rows of a plan that the database has refused to write, with its reasons."""
    # Plans have all other reasons.
    refused = [step for step in plan.steps if step.conflict is not None and step.conflict.sentence is None]
    # Of others, nothing is shown, so nothing of them is to be noted as seen.
    shown = replace(plan, steps=tuple(refused[:_NAMED]))
    lines = StepRules(viewer, selection.change.database, selection.changes).lines(shown)
    named = [f"{line.object}: {line.conflict}" for line in lines]
    return semicolon_list([*named, "…"] if len(refused) > _NAMED else named)


def _nothing_done(refused: str) -> str:
    return _("Nothing was reverted: %s") % refused if refused else _("Nothing was reverted.")


def _failed(viewer: Viewer, selection: RevertSelection, error: Exception) -> dict[str, Any]:
    told = (
        reason_of(error, viewer.request.user)
        if isinstance(error, HistoryError)
        else failure_text(viewer, error)
    )
    return {**_common(viewer, selection), "error": told}


def failure_text(viewer: Viewer, error: Exception) -> str:
    """Return why nothing can be planned, without masked values."""
    if isinstance(error, BemiError) and error.__cause__ is None:
        return reason_in_text(error, viewer.request.user)
    if isinstance(error, RecursionError):
        return _("A value is nested too deeply to be compared.")
    refused = _("The database refuses the change.")
    return refused if hides_errors(viewer) else f"{refused} ({first_line(error)})"


def _common(viewer: Viewer, selection: RevertSelection) -> dict[str, Any]:
    about = ObjectLabels([selection.change], viewer).of(selection.change)
    return {
        "selection": selection,
        "about": about,
        "heading": " ".join(filter(None, (about.noun, about.label))) if selection.is_single else "",
        "actor": Actors([selection.change], viewer).actor_of(selection.change),
        "reason": why(selection.change, viewer),
        "query": viewer.request.GET.urlencode(),
        "crumbs": [
            (pgettext("noun", "Change"), viewer.url("change", selection.change.pk)),
            (selection.label, None),
        ],
    }


def _shown(viewer: Viewer, selection: RevertSelection) -> dict[str, Any]:
    choices = choices_of(viewer, selection)
    stop = choices["stop"]
    conflicts = [line for line in stop.lines if line.conflict]
    # What prevents even overwriting comes to light only where the rest is overwritten.
    known = {line.conflict for line in conflicts}
    conflicts += [line for line in choices["force"].lines if line.conflict and line.conflict not in known]
    modes = [
        mode
        for mode, choice in choices.items()
        if choice.actions and choice.is_allowed and (mode == "skip" or not choice.plan.conflicts)
    ]
    rules = StepRules(viewer, selection.change.database, selection.changes)
    fields = field_lines(viewer, selection, stop.plan, rules) if selection.is_single else []
    return {
        **_common(viewer, selection),
        "fields": fields,
        "chosen": [line for line in fields if line.is_chosen],
        "longest": MOST_CHARACTERS,
        "conflicts": conflicts,
        "actions": stop.actions,
        "deletes": any(line.step.action == "delete" for line in stop.actions),
        "modes": modes,
        "pruned": [] if selection.is_single else pruned_tables(viewer, stop.plan),
        "is_forbidden": bool(stop.lines) and not any(choice.is_allowed for choice in choices.values()),
        "digest": ",".join(f"{mode}={choice.plan.digest}" for mode, choice in choices.items()),
    }
