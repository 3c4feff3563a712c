"""Recognise the statements that psycopg2's execute_values() and execute_batch() compose."""

from __future__ import annotations

import sys
from typing import Any

_MODULE = "psycopg2.extras"
_HELPERS = frozenset(("execute_values", "execute_batch"))
# Between the hook and the helper there are the methods of Django's cursor and the wrappers of others.
_MAX_DEPTH = 50


def composed_from() -> str | None:
    """Return the statement from which a helper of psycopg2 is composing the one being executed.

    The helpers send bytes into which they have merged the values of many rows. The statement is recorded as
    its author wrote it, as always. The helpers do not pass that text on, so it is looked for in the calling
    frames.

    Returns:
        The ``sql`` argument of ``execute_values()`` or ``execute_batch()``, or None if neither is running.
    """
    frame = sys._getframe(1)
    for _ in range(_MAX_DEPTH):
        if frame.f_code.co_name in _HELPERS and frame.f_globals.get("__name__") == _MODULE:
            return _text(frame.f_locals.get("sql"))
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


def _text(sql: Any) -> str | None:
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    return sql if isinstance(sql, str) else None
