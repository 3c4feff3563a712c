"""The pages of a transaction, of a request and of a run of a task or a command: what it did, step by step."""

from __future__ import annotations

from datetime import datetime
from html import unescape
from typing import Any, NamedTuple
from uuid import UUID

from django.http import Http404
from django.utils.html import strip_tags
from django.utils.http import urlencode
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from bemi_django import destinations
from bemi_django.admin.access.undo_permission import may_undo
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action import action_of
from bemi_django.admin.display.actions.run import RUN_KEYS, ActionRun, run_of
from bemi_django.admin.display.actions.sentence import sentence
from bemi_django.admin.display.actions.steps import transactions
from bemi_django.admin.display.actors import Actors
from bemi_django.admin.display.contexts.context_lines import lines_of
from bemi_django.admin.display.object_labels import ObjectLabels
from bemi_django.admin.display.site_time import ago, took
from bemi_django.admin.display.value_diff import are_alike
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.admin.pages.change_detail import NEIGHBOURS
from bemi_django.admin.pages.requests.started_parts import started_tree
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.list_order import ids_of_transaction
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only, no_seqscan
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.wire.ids import sequence_in

#: The number of changes that a page shows.
MOST = 500
_LONGEST_TITLE = 100


class FoundChanges(NamedTuple):
    """The changes of a page in commit order, and whether there are more."""

    changes: list[Change]
    is_cut: bool


def read_transaction(change_id: UUID, viewer: Viewer) -> FoundChanges:
    """Return the changes of a transaction.

    Args:
        change_id: The id of any change of it.
        viewer: Who sees it.

    Raises:
        Http404: If the viewer may see no change of it.
    """
    first, last = ids_of_transaction(sequence_in(change_id.bytes))
    named: list[Change] = []
    for alias in destinations.meant():
        with destinations.here(alias), no_seqscan():
            named += read_changes(viewer.changes().filter(pk=change_id))
    found: list[Change] = []
    for alias in destinations.meant():
        with destinations.here(alias), no_seqscan():
            same = viewer.changes().filter(id__gte=first, id__lte=last).order_by("id")
            if not named:
                named = read_changes(same[:1])
            if named:
                of_it = {"database": named[0].database, "transaction_id": named[0].transaction_id}
                found += read_changes(same.filter(**of_it)[: MOST + 1])
    if not found:
        raise Http404
    return _first(found)


def read_run(run: ActionRun, viewer: Viewer) -> FoundChanges | None:
    """Return the changes of a request or a run, or None if that takes too long.

    Raises:
        Http404: If the viewer may see no change of it.
    """
    if not run.id or "\0" in run.id or viewer.masks.hide_context_key(run.key):
        raise Http404
    read = []
    for alias in destinations.meant():
        with destinations.here(alias):
            read.append(_read(viewer.changes().filter(context__contains=run.context)))
    found = [changes for changes in read if changes is not None]
    if len(found) < len(read):
        return None
    if not any(found):
        raise Http404
    return _first([change for changes in found for change in changes])


def of_transaction(change_id: UUID, viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template for a transaction; see ``read_transaction()``."""
    found = read_transaction(change_id, viewer)
    number = str(found.changes[0].transaction_id)
    context = _context(found, f"transaction:{number}", viewer)
    return context | {
        "transaction_id": number,
        "crumbs": [(_("Transaction %(id)s") % {"id": number}, None)],
        "revert": _revert("transaction", context, viewer),
    }


def of_request(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template for the request ``?id=``, or the run of a task or a command.

    See ``read_run()``.
    """
    given = viewer.request.GET
    key = next((key for key, name in RUN_KEYS.items() if given.get(name)), "request_id")
    run = ActionRun(key, given.get(RUN_KEYS[key], ""))
    found = read_run(run, viewer)
    if found is None:
        return {"is_too_slow": True, "run": run, "heading": run.id, "search": run.search, "transactions": []}
    context = _context(found, run.search, viewer, run.began_at(found.changes[0].committed_at))
    is_innermost = run_of(context["entry"]) == run
    return context | {
        "run": run,
        "crumbs": [(run.label, None)],
        "revert": _revert("request", context, viewer) if is_innermost else None,
        "tree": started_tree(run, found.changes, viewer, is_cut=found.is_cut),
    }


def _first(found: list[Change]) -> FoundChanges:
    """Return the first changes, each once if two logs have it."""
    once = {change.pk: change for change in found}.values()
    ordered = sorted(once, key=lambda change: (change.committed_at, change.pk))
    return FoundChanges(ordered[:MOST], len(ordered) > MOST)


def _read(changes: ChangeQuerySet) -> list[Change] | None:
    try:
        # Without an order, a request of any size stops at the limit.
        with bitmap_scan_only(query_timeouts.LOOKUP):
            return read_changes(changes.order_by()[: MOST + 1])
    except TimedOut:
        return None


def _context(
    found: FoundChanges, query: str, viewer: Viewer, began: datetime | None = None
) -> dict[str, Any]:
    changes = found.changes
    steps = transactions(changes, viewer, began)
    if len({part.where for part in steps}) == 1:
        # What they have in common says it.
        steps = [part._replace(where="") for part in steps]
    first, last = changes[0], changes[-1]
    action = action_of(changes)._replace(is_cut=found.is_cut)
    actor = Actors([first], viewer).actor_of(*changes[1:], first)
    sql = "\n\n".join(transaction.sql for transaction in steps)
    if found.is_cut:
        sql += f"\n\n-- These are the first {len(changes)} changes. There are more."
    said = sentence(action, viewer, ObjectLabels(changes, viewer), Formatter(viewer))
    return {
        "entry": first,
        "actor": actor,
        "sentence": said,
        # The title of the window.
        "heading": Truncator(f"{actor.label} {unescape(strip_tags(said))}".strip()).chars(_LONGEST_TITLE),
        "ago": ago(last.committed_at),
        "facts": lines_of(common_context(changes, viewer), first, viewer, actor),
        "transactions": steps,
        "steps_count": sum(len(transaction.steps) for transaction in steps),
        "count": len(changes),
        "is_cut": found.is_cut,
        "began": began,
        "duration": took(last.committed_at - (began or first.committed_at))
        if began or len(steps) > 1
        else "",
        "all_rows": f"{viewer.url('changelist')}?{urlencode({'q': query, 'records': 'on', 'view': 'rows'})}",
        "sql": sql,
    }


def common_context(changes: list[Change], viewer: Viewer) -> dict[str, Any]:
    """Return what the contexts of all changes have in common, but for the SQL, as the viewer may see it."""
    contexts = [viewer.context(change) for change in changes]
    first = {name: value for name, value in contexts[0].items() if name != "SQL"}
    return {
        name: value
        for name, value in first.items()
        if all(name in context and are_alike(context[name], value) for context in contexts[1:])
    }


def _revert(what: str, context: dict[str, Any], viewer: Viewer) -> str | None:
    """Return the page that reverts all of it, if the viewer may."""
    changes = [row.change for part in context["transactions"] for step in part.steps for row in step.rows]
    # The plan examines all of them.
    if len({change.destination for change in changes}) > 1:
        # The page of a revert asks one log which changes are to be reverted.
        return None
    if not viewer.has("revert") or not may_undo(changes[:NEIGHBOURS], viewer):
        return None
    return f"{viewer.url('revert')}?{what}={changes[0].pk}"
