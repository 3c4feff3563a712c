"""Say in the reader's language why the log does not know something."""

from __future__ import annotations

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bemi_django.exceptions import BeforeHistory, BemiError, HistoryError, LogBehind, first_line


def reason_of(error: BemiError) -> SafeString:
    """Return why something is not known, for people, as HTML.

    What an administrator needs to know follows it. It is English, and marked as that.

    Args:
        error: What the log, or a block of the past, has raised.
    """
    said, detail = _parts(error)
    if not detail:
        return format_html("{}", said)
    return format_html('{} <bdi lang="en">({})</bdi>', said, detail)


def reason_in_text(error: BemiError) -> str:
    """Return why something is not known as plain text."""
    said, detail = _parts(error)
    return f"{said} ({detail})" if detail else said


def _parts(error: BemiError) -> tuple[str, str]:
    """Return what is said to people, and what an administrator needs to know."""
    if isinstance(error, BeforeHistory) and error.since is not None:
        local = timezone.localtime(error.since) if timezone.is_aware(error.since) else error.since
        moment = f"{date_format(local, 'DATE_FORMAT')} {date_format(local, 'H:i:s')}"
        return _("The log is complete from %(moment)s on. Choose a later moment.") % {"moment": moment}, ""
    detail = first_line(error)
    if isinstance(error, LogBehind):
        said = _("The log has not reached this moment. Check that the worker is running, or try again later.")
    elif isinstance(error, HistoryError):
        said = _("The log does not know everything that is shown as of this moment.")
    else:
        return detail, ""
    return said, detail
