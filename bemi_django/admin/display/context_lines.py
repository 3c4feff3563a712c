"""Show the values of a context, each with a link to the changes that have it, too."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from django.utils.http import urlencode
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.run import RUN_KEYS, ActionRun, run_url
from bemi_django.admin.display.actors import Actor
from bemi_django.admin.display.value_diff import are_alike, as_text
from bemi_django.admin.display.values.formatter import is_raw
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change

#: Longer values are not searched for.
_LONGEST = 500
_NAME = re.compile(r"[^\W\d]\w*")
_PLAIN = re.compile(r"[^\s\"'\\]+(?: [^\s\"'\\]+)*")


class ContextLine(NamedTuple):
    """A value of a context.

    Attributes:
        name: Its name.
        text: The value; of a user the name, if it is known.
        url: Where the changes are that have it, or None if it cannot be searched for.
        key: The key of the user whom ``text`` names, or nothing.
    """

    name: str
    text: str
    url: str | None
    key: str = ""


def context_lines(change: Change, viewer: Viewer, actor: Actor) -> list[ContextLine]:
    """Return the values of a change's context in alphabetical order, but not its SQL."""
    found = sorted(viewer.context(change).items())
    return [context_line(change, name, value, viewer, actor) for name, value in found if name != "SQL"]


def context_line(change: Change, name: str, value: Any, viewer: Viewer, actor: Actor) -> ContextLine:
    """Return a value of a change's context.

    Args:
        change: The change.
        name: The name of the value.
        value: The value, as the viewer sees it.
        viewer: The viewer.
        actor: Who made the change.
    """
    # An empty text is one, too; other values are as JSON has them.
    text, url = in_order(as_text(value)) or '""', value_url(change, name, value, viewer)
    is_user = name == "user_id" and actor.is_person and actor.url is not None and not is_raw(viewer)
    if is_user and actor.label != in_order(_("user %s") % str(value)):
        return ContextLine(name, actor.label, url, text)
    return ContextLine(in_order(name), text, url)


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
