"""Say in the reader's language why the log does not know something."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bemi_django.exceptions import BeforeHistory, BemiError, HistoryError, LogBehind, first_line

_HEALTH = "bemi_django.view_health"
_POSITION = re.compile(r"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b")


def reason_of(error: BemiError, user: Any) -> SafeString:
    """Return why something is not known, for people, as HTML.

    Why that is so follows it, with positions of the WAL for those who may view the health page. It is
    English, and marked as that.

    Args:
        error: What the log, or a block of the past, has raised.
        user: Who is told.
    """
    said, detail = _parts(error, user)
    if not detail:
        return format_html("{}", said)
    return format_html('{} <bdi lang="en">({})</bdi>', said, detail)


def reason_in_text(error: BemiError, user: Any) -> str:
    """Return why something is not known as plain text."""
    said, detail = _parts(error, user)
    return f"{said} ({detail})" if detail else said


def _parts(error: BemiError, user: Any) -> tuple[str, str]:
    """Return what is said to people, and what an administrator needs to know."""
    detail = first_line(error)
    since = error.since if isinstance(error, HistoryError) else None
    if isinstance(error, BeforeHistory) and since is not None:
        return _later_moment(since), ""
    if isinstance(error, LogBehind):
        said = _("The log has not reached this moment. Check that the worker is running, or try again later.")
    elif isinstance(error, HistoryError):
        said = _("The log does not know everything that is shown as of this moment.")
        if since is not None:
            said = f"{said} {_later_moment(since)}"
    else:
        return detail, ""
    return said, detail if user.has_perm(_HEALTH) else _without_positions(error, detail)


def _without_positions(error: BemiError, detail: str) -> str:
    """Return what of a detail tells people something: no positions of the WAL, and no moment said before."""
    told = detail.partition(": history ")[0]
    return "" if isinstance(error, LogBehind) or _POSITION.search(told) else told


def _later_moment(since: datetime) -> str:
    local = timezone.localtime(since) if timezone.is_aware(since) else since
    moment = f"{date_format(local, 'DATE_FORMAT')} {date_format(local, 'H:i:s')}"
    return _("The log is complete from %(moment)s on. Choose a later moment.") % {"moment": moment}
