"""Say what events that the package itself records are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bemi_django.admin.display.actions import nouns
from bemi_django.admin.display.values.moments import stored_moment_text
from bemi_django.admin.display.values.turned_text import in_order

_Details = Mapping[str, Any]
#: An event, as its details and the link of its object say; None if they are not those of the package.
_Said = Callable[[_Details, "SafeString | None"], "SafeString | None"]


def known_event(name: str, details: object, about: SafeString | None) -> SafeString | None:
    """Return what an event of the package was, or None if it is not one.

    Args:
        name: Its name.
        details: What it was recorded with.
        about: The link of its object, if it has one.
    """
    said = _SAID.get(name)
    return said(details if isinstance(details, dict) else {}, about) if said else None


def _number(details: _Details) -> int | None:
    found = details.get("rows")
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _exported(details: _Details, about: SafeString | None) -> SafeString | None:
    count = _number(details)
    if about is not None or count is None or "filters" not in details:
        return None
    if details.get("page") == "activity":
        return escape(_("exported the numbers of the activity page"))
    text = ngettext("exported {number} change", "exported {number} changes", count)
    return format_html(text, number=nouns.number(count))


def _reverted(details: _Details, about: SafeString | None) -> SafeString | None:
    count = _number(details)
    if about is not None or count is None or "what" not in details:
        return None
    return format_html(
        ngettext("reverted {number} row", "reverted {number} rows", count), number=nouns.number(count)
    )


def _unmasked(details: _Details, about: SafeString | None) -> SafeString | None:
    return None if about is not None or "page" not in details else escape(_("viewed masked values"))


def _time_travel(details: _Details, about: SafeString | None) -> SafeString | None:
    found = details.get("moments")
    given = found if isinstance(found, list) else []
    moments = [stored_moment_text(text) for text in given if isinstance(text, str)]
    if not moments or moments[0] is None:
        return None
    if details.get("site") is True:
        return format_html(_("went to the site as of {moment}"), moment=moments[0])
    if about is None:
        return None
    if len(moments) > 1:
        return format_html(_("compared {object} at two moments"), object=about)
    return format_html(_("viewed {object} as of {moment}"), object=about, moment=moments[0])


def _viewed(details: _Details, about: SafeString | None) -> SafeString | None:
    return None if about is None else format_html(_("viewed {object}"), object=about)


def _logged_in(details: _Details, about: SafeString | None) -> SafeString:
    return escape(_("logged in"))


def _logged_out(details: _Details, about: SafeString | None) -> SafeString:
    return escape(_("logged out"))


def _login_failed(details: _Details, about: SafeString | None) -> SafeString:
    name = details.get("username")
    if not isinstance(name, str):
        return escape(_("failed to log in"))
    return format_html(_("failed to log in as “{name}”"), name=_within_quotes(name))


def _alert_rule(details: _Details, about: SafeString | None) -> SafeString | None:
    said = {
        "added": _("added the alert rule “{name}”"),
        "changed": _("changed the alert rule “{name}”"),
        "deleted": _("deleted the alert rule “{name}”"),
        "tested": _("tried out the alert rule “{name}”"),
    }.get(str(details.get("action")))
    name = details.get("name")
    if about is not None or said is None or not isinstance(name, str):
        return None
    return format_html(said, name=_within_quotes(name))


def _within_quotes(name: str) -> SafeString:
    # It does not end its own quotation, and turns nothing around it.
    return format_html("<bdi>{}</bdi>", in_order(name).translate({0x201C: "'", 0x201D: "'"}))


_SAID: dict[str, _Said] = {
    "exported": _exported,
    "reverted": _reverted,
    "unmasked": _unmasked,
    "time_travel": _time_travel,
    "viewed": _viewed,
    "logged_in": _logged_in,
    "logged_out": _logged_out,
    "login_failed": _login_failed,
    "alert_rule": _alert_rule,
}
