"""Build the comment that carries a context before a statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bemi_django.capture import context_encoding
from bemi_django.capture.signing import signed
from bemi_django.wire import COMMENT_END, COMMENT_START, MAX_SQL_CHARACTERS, STATEMENT
from bemi_django.wire.signature import COMMENT_FORM, SETTING_FORM

_VALUES = re.compile(r"\bVALUES\s*(?=\()", re.IGNORECASE)


def context_comment(sql: str, context: Mapping[str, Any]) -> str:
    """Return the comment that carries a context before a statement.

    This never raises because of the context: values that JSON cannot hold become text, and values that
    are too large are dropped.

    Args:
        sql: Text of the statement, which the comment records too.
        context: The context.

    Returns:
        ``/*Bemi {"user": 7, "SQL": ...} Bemi*/`` and a blank, to be put before the statement.
    """
    statement = _sql_json(sql) if len(sql) <= MAX_SQL_CHARACTERS else _encode_sql(sql)
    pairs = context_encoding.context_json(context)[1:-1]
    if not pairs:
        # It says nothing that could be signed.
        return f"{COMMENT_START}{{{STATEMENT[1:]}{statement}}}{COMMENT_END} "
    return f"{COMMENT_START}{signed(f'{{{pairs}{STATEMENT}{statement}', COMMENT_FORM)}}}{COMMENT_END} "


def context_setting(context: Mapping[str, Any]) -> str:
    """Return a context for :data:`~bemi_django.wire.CONTEXT_SETTING`, which applies to any statement."""
    encoded = context_encoding.context_json(context)
    return encoded if encoded == "{}" else f"{signed(encoded[:-1], SETTING_FORM)}}}"


def without_comment(sql: str) -> str:
    """Return a statement without the comment of :func:`context_comment` before it."""
    if not sql.startswith(COMMENT_START):
        return sql
    # A context cannot hold the end of the comment: its asterisks are escaped.
    _, end, statement = sql.partition(COMMENT_END)
    return statement[1:] if end else sql


def collapse_values(sql: str) -> str:
    """Shorten a list of VALUES whose rows have the same text.

    Args:
        sql: Text of a statement.

    Returns:
        The statement, in which ``VALUES (%s), (%s), (%s)`` has become ``VALUES (%s), … ×3``.
    """
    values = _VALUES.search(sql)
    if values is None:
        return sql
    end = _closing_parenthesis(sql, values.end())
    if end is None:
        return sql
    row = sql[values.end() : end]
    # Some drivers number the placeholders of each row.
    alike = re.sub(r"\d+", r"\\d+", re.escape(row))
    more = re.compile(rf"(?:\s*,\s*{alike})+").match(sql, end)
    if more is None:
        return sql
    rows = 1 + more[0].count(")") // row.count(")")
    return f"{sql[:end]}, … ×{rows}{sql[more.end() :]}"


def _closing_parenthesis(sql: str, start: int) -> int | None:
    depth = 0
    for parenthesis in re.finditer(r"[()]", sql[start : start + MAX_SQL_CHARACTERS]):
        depth += 1 if parenthesis[0] == "(" else -1
        if depth == 0:
            return start + parenthesis.end()
    return None


def _encode_sql(sql: str) -> str:
    short = collapse_values(sql)
    if len(short) > MAX_SQL_CHARACTERS:
        short = short[:MAX_SQL_CHARACTERS] + "… (cut)"
    return context_encoding.json_string(short)


_sql_json = lru_cache(maxsize=512)(_encode_sql)

#: Tells the database that a hook is there; the statement is the rest, its context is a setting.
NO_CONTEXT = context_comment("", {})
