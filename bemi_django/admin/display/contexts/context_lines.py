"""Show the values of a context, each with a link to the changes that have it, too."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from django.utils.http import urlencode
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.run import RUN_KEYS, ActionRun, run_url
from bemi_django.admin.display.actors import Actor
from bemi_django.admin.display.contexts.connection_text import connection_text
from bemi_django.admin.display.contexts.known_keys import key_name, key_rank
from bemi_django.admin.display.value_diff import are_alike, as_text
from bemi_django.admin.display.values.formatter import is_raw
from bemi_django.admin.display.values.shown_value import shown
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change
from bemi_django.wire import SQL_KEY

#: Longer values are not searched for.
_LONGEST = 500
_NAME = re.compile(r"[^\W\d]\w*")
_PLAIN = re.compile(r"[^\s\"'\\]+(?: [^\s\"'\\]+)*")


class ContextLine(NamedTuple):
    """A value of a context.

    Attributes:
        name: Its key.
        label: What the key is called; the key itself where values are raw, and for one of the project's.
        text: The value; of a user the name, if it is known.
        url: Where the changes are that have it, or None if it cannot be searched for.
        key: The key of the user whom ``text`` names, or nothing.
        is_word: Whether ``text`` stands for what is no text, such as none.
        before: The line of a value that stands before this one, as the method of an endpoint, or None.
    """

    name: str
    label: str
    text: str
    url: str | None
    key: str = ""
    is_word: bool = False
    before: ContextLine | None = None


def context_lines(change: Change, viewer: Viewer, actor: Actor) -> list[ContextLine]:
    """Return the values of a change's context, but not its SQL."""
    return lines_of(viewer.context(change), change, viewer, actor)


def lines_of(context: dict[str, Any], change: Change, viewer: Viewer, actor: Actor) -> list[ContextLine]:
    """Return values of a change's context in the order that tells most, but not its SQL.

    Args:
        context: The values, as the viewer sees them.
        change: The change.
        viewer: The viewer.
        actor: Who made the change.
    """
    names = sorted(context.keys() - {SQL_KEY}, key=None if is_raw(viewer) else key_rank)
    lines = {name: context_line(change, name, context[name], viewer, actor) for name in names}
    if not is_raw(viewer) and lines.keys() >= {"method", "endpoint"}:
        lines["endpoint"] = lines["endpoint"]._replace(before=lines.pop("method"))
    return list(lines.values())


def context_line(change: Change, name: str, value: Any, viewer: Viewer, actor: Actor) -> ContextLine:
    """Return a value of a change's context.

    Args:
        change: The change.
        name: The key of the value.
        value: The value, as the viewer sees it.
        viewer: The viewer.
        actor: Who made the change.
    """
    url, text = value_url(change, name, value, viewer), in_order(as_text(value))
    if is_raw(viewer):
        # An empty text is one, too; other values are as JSON has them.
        return ContextLine(name, in_order(name), text or '""', url)
    line = ContextLine(name, key_name(name), text, url)
    if value is None and name == "user_id" and actor.is_visitor:
        return line._replace(text=_("visitor"), is_word=True)
    if value is None or isinstance(value, bool) or value == "":
        return line._replace(text=shown(None, value).text, is_word=not isinstance(value, bool))
    if name == "connection":
        return line._replace(text=connection_text(value) or text)
    return _of_user(line, value, actor) if name == "user_id" else line


def _of_user(line: ContextLine, value: Any, actor: Actor) -> ContextLine:
    if actor.is_person and actor.url is not None and actor.label != in_order(_("user %s") % str(value)):
        return line._replace(text=actor.label, key=line.text)
    return line


def value_url(change: Change, name: str, value: Any, viewer: Viewer) -> str | None:
    """Return where the changes are whose context has a value, or None if it is masked or too long.

    Args:
        change: The change that has it.
        name: Its name.
        value: The value, as the viewer sees it.
        viewer: The viewer.
    """
    if not are_alike(value, change.context.get(name)) or len(dumps(value)) > _LONGEST:
        return None
    if viewer.masks.hidden_in_context({name: value}):
        return None
    key = name.removeprefix("parent_")
    if key in RUN_KEYS and isinstance(value, str) and value and not viewer.masks.hide_context_key(key):
        return run_url(ActionRun(key, value), viewer)
    address = viewer.url("changelist")
    field = {"user_id": "user", "endpoint": "endpoint"}.get(name)
    if field and type(value) in (str, int) and str(value).strip() == str(value) != "":
        return f"{address}?{urlencode({field: value})}"
    return f"{address}?{urlencode({'q': search_for(name, value)})}"


def search_for(name: str, value: Any) -> str:
    """Return the search for a value of a context: with the name if that is clear, else as JSON."""
    text = value if isinstance(value, str) else dumps(value)
    if _NAME.fullmatch(name) and not isinstance(value, (dict, list)) and _PLAIN.fullmatch(text):
        return f'{name}="{text}"' if " " in text else f"{name}={text}"
    return dumps({name: value})
