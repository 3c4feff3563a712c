"""Lines of the list of actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action import AuditAction
from bemi_django.admin.display.actions.run import run_url, shown_run_of
from bemi_django.admin.display.actions.sentence import learn, sentence
from bemi_django.admin.display.actors import Actor, Actors, where
from bemi_django.admin.display.change_rows import ListedCell, ListedRow, rows
from bemi_django.admin.display.object_labels import ObjectLabels
from bemi_django.admin.display.site_time import ago, local
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.models import Change

#: The length of a reason.
_LONGEST = 80


class ListedAction(NamedTuple):
    """An action as the list shows it.

    Attributes:
        action: The action.
        last: The last of its changes.
        url: The page of its request or transaction.
        day: The day of its last commit.
        ago: How long ago that was.
        actor: Who did it.
        where: The endpoint, task, command or program.
        same_endpoint: The query string of the list of all changes by its endpoint, or nothing.
        whole: What the link to its page is called.
        sentence: What it did.
        reason: The reason in the context, or nothing.
        rows: The changes that are shown.
        hidden: The number of changes that are counted but not shown.
        own: What columns of the project say of all of its changes.
    """

    action: AuditAction
    last: Change
    url: str
    day: date
    ago: str
    actor: Actor
    where: str
    same_endpoint: str
    whole: str
    sentence: SafeString
    reason: str
    rows: list[ListedRow]
    hidden: int
    own: Sequence[ListedCell] = ()


def action_lines(actions: Sequence[AuditAction], viewer: Viewer) -> Iterator[ListedAction]:
    """Yield the lines of a list of actions. Names are looked up for all of them at once."""
    changes = [change for action in actions for change in action.changes]
    actors, objects = Actors(changes, viewer), ObjectLabels(changes, viewer)
    listed = {row.change.pk: row for row in rows(changes, viewer, actors, objects)}
    formatter = Formatter(viewer)
    learn(actions, formatter)
    for action in actions:
        # Who has begun it: tasks that a request has published are a part of it.
        first, last = action.changes[0], action.changes[-1]
        run = shown_run_of(last, viewer)
        actor = actors.actor_of(*action.changes[1:], first)
        yield ListedAction(
            action,
            last,
            run_url(run, viewer) if run else viewer.url("transaction", last.pk),
            local(last.committed_at).date(),
            ago(last.committed_at),
            actor,
            where(first, viewer),
            _same_endpoint(first, viewer),
            run.whole if run else _("Whole transaction"),
            sentence(action, viewer, objects, formatter),
            reason_of(first, viewer) or reason_of(last, viewer),
            [listed[change.pk] for change in action.changes],
            action.total - len(action.changes),
        )


def reason_of(change: Change, viewer: Viewer) -> str:
    """Return the reason that the context of a change gives, or nothing."""
    found = viewer.context(change).get("reason")
    return found[:_LONGEST] if isinstance(found, str) else ""


def _same_endpoint(change: Change, viewer: Viewer) -> str:
    found = change.context.get("endpoint")
    is_shown = isinstance(found, str) and found and not viewer.masks.hide_context_key("endpoint")
    return f"?{urlencode({'endpoint': found})}" if is_shown else ""
