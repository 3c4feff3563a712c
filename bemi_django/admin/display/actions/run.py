"""What made changes in several transactions: a request, or one run of a task or a command."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.capture.run_ids import made_at
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change

#: The keys of contexts that hold its id, the innermost first, and the parameters of its page.
RUN_KEYS = {"request_id": "id", "task_id": "task_id", "command_id": "command_id"}

_LONGEST = timedelta(days=30)


class ActionRun(NamedTuple):
    """A request, or a run of a task or a command: the key of contexts that holds its id, and the id."""

    key: str
    id: str

    @property
    def context(self) -> dict[str, str]:
        """The part of a context that its changes have."""
        return {self.key: self.id}

    def began_at(self, committed_at: datetime) -> datetime | None:
        """Return when it began, if its id says so, or None.

        Args:
            committed_at: When it first committed. The clock of the application may differ from the one of the
                database, and anybody may have made an id: what began after it, or long before, is not told.
        """
        # A task has the id of its message, which was published at any time before.
        made = made_at(self.id) if self.key != "task_id" else None
        is_aware = timezone.is_aware(committed_at)
        committed = committed_at if is_aware else timezone.make_aware(committed_at)
        if made is None or not timedelta() <= committed - made <= _LONGEST:
            return None
        return made if is_aware else timezone.make_naive(made)

    @property
    def search(self) -> str:
        """The search for its changes in the list."""
        return f'request:"{self.id}"' if self.key == "request_id" else dumps(self.context)

    @property
    def noun(self) -> str:
        """What it is called."""
        return {"request_id": _("Request"), "task_id": _("Task"), "command_id": _("Command")}[self.key]

    @property
    def label(self) -> str:
        """What it is called, with its id."""
        texts = {
            "request_id": _("Request %(id)s"),
            "task_id": _("Task %(id)s"),
            "command_id": _("Command %(id)s"),
        }
        return texts[self.key] % {"id": in_order(self.id)}

    @property
    def whole(self) -> str:
        """What leads to all of it."""
        texts = {
            "request_id": _("Whole request"),
            "task_id": _("Whole task"),
            "command_id": _("Whole command"),
        }
        return texts[self.key]

    @property
    def undoing(self) -> str:
        """What its revert is called."""
        texts = {
            "request_id": _("Revert the request"),
            "task_id": _("Revert the task"),
            "command_id": _("Revert the command"),
        }
        return texts[self.key]


def run_of(change: Change) -> ActionRun | None:
    """Return what a change was made by, or None; a context can hold anything."""
    for key in RUN_KEYS:
        found = change.context.get(key)
        if isinstance(found, str) and found:
            return ActionRun(key, found)
    return None


def shown_run_of(change: Change, viewer: Viewer) -> ActionRun | None:
    """Return what a change was made by, or None if it is not known or masked."""
    run = run_of(change)
    return None if run is None or viewer.masks.hide_context_key(run.key) else run


def run_url(run: ActionRun, viewer: Viewer) -> str:
    """Return the page of a request or a run."""
    return f"{viewer.url('request')}?{urlencode({RUN_KEYS[run.key]: run.id})}"
