"""The latest changes of an object, for pages that are about more than its history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from bemi_django.admin.access.chosen_log import UNREADABLE, unreached
from bemi_django.admin.pages.history.subject import HistorySubject
from bemi_django.admin.pages.history.timeline import read_timeline
from bemi_django.admin.pages.history.timeline_form import TimelineForm
from bemi_django.admin.pages.history.timeline_steps import timeline_steps
from bemi_django.admin.search.paging import PageCursor

_NO_STATE = ("EVENT", "ERASED")


def or_unreadable(render: Callable[[], str]) -> SafeString:
    """Return HTML of the log, or a paragraph that says that the log cannot be read at the moment.

    A page that is about more than the log is shown also while the server of the log is away.

    Args:
        render: Returns the HTML.
    """
    try:
        return mark_safe(render())
    except (OperationalError, InterfaceError):
        if unreached() is None:
            raise
        return format_html('<p class="bemi-empty audit-timeline">{}</p>', UNREADABLE)


def render_latest(
    subject: HistorySubject, page: str, folder: str, name: str, *, limit: int, related: str, **values: Any
) -> str:
    """Return the latest changes of an object as HTML.

    Args:
        subject: The object, and the user who sees it.
        page: What it is called in the event that masked values were shown.
        folder: The folder of the template. One in ``<app>/<model>/`` below it is taken first.
        name: The name of the template.
        limit: The number of changes.
        related: Whose changes: ``"own"``, ``"all"``, or nothing for its own and those of its parts.
        values: What else the template is given.

    Raises:
        ValueError: If ``related`` is none of these.
    """
    form = TimelineForm({"related": related}, subject.viewer)
    if not form.is_valid():
        raise ValueError('related is "own", "all", or not given')
    read = read_timeline(subject, form, PageCursor(), limit)
    own = (change for change in read.page.changes if change.pk in read.own)
    # To restore the newest version would do nothing.
    newest = next((change for change in own if change.operation not in _NO_STATE), None)
    subject = subject._replace(newest=newest)
    found = {
        "subject": subject,
        "steps": timeline_steps(subject, read.page.changes, read.own),
        "has_more": read.page.older is not None,
        "url": subject.url if subject.viewer.url("changelist") else "",
        **values,
    }
    meta = subject.model._meta
    names = [f"{folder}/{meta.app_label}/{meta.model_name}/{name}", f"{folder}/{name}"]
    rendered = render_to_string(names, found, subject.viewer.request)
    subject.viewer.unmasked.note(page)
    return rendered
