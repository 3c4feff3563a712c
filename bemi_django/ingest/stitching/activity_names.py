"""By what a context lets its change be counted, as ``_bemi.activity_of_v1`` tells it in the database."""

from __future__ import annotations

import re
from typing import Any

import orjson

#: Kind, name and detail, as in the table ``_bemi.activity``.
Name = tuple[str, str, str]
#: What a context says, as JSON for the database to read if it is not a text or an integer.
Names = tuple[Name, ...] | bytes

_KEY = re.compile(
    r"/(?:[0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,})(?=/|\Z)"
)


def names_of(context: bytes) -> Names:
    """Return by what a context lets its change be counted."""
    names: list[Name] = []
    try:
        found = orjson.loads(context)
        get = found.get
        if user := _text(get("user_id")):
            names.append(("user", user[:200], _text(get("tenant"))[:100]))
        # Most contexts have no other of these keys.
        if ("route" in found or "endpoint" in found) and (
            endpoint := _text(get("route")) or _without_keys(_text(get("endpoint")))
        ):
            names.append(("endpoint", endpoint[:200], _text(get("method"))[:100]))
        if "task" in found and (task := _text(found["task"])):
            names.append(("task", task[:200], ""))
        if "command" in found and (command := _text(found["command"])):
            names.append(("command", command[:200], ""))
        if not found or "db_user" in found:
            names.append(("outside", _text(get("db_user"))[:200], ""))
    except (ValueError, AttributeError, TypeError):
        # It is nested deeply, is no object, or has values that are printed in ways of their own.
        return context
    return tuple(names)


def _text(value: Any) -> str:
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if value.__class__ is int:
        return str(value)
    raise TypeError


def _without_keys(endpoint: str) -> str:
    return _KEY.sub("/<id>", endpoint) if endpoint else ""
