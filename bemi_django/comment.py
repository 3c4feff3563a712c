"""Put a context in front of a statement as a comment that nothing on the way can misread."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from bemi_django.context import Context
from bemi_django.wire import (
    COMMENT_END,
    COMMENT_START,
    DROPPED_KEY,
    MAX_CONTEXT_CHARACTERS,
    MAX_SQL_CHARACTERS,
    STATEMENT,
)

logger = logging.getLogger(__name__)

#: As the ORMs begin; for all else a regular expression has to look.
_USUAL = {"INSERT ": True, "UPDATE ": True, "DELETE ": True, "SELECT ": False}
_BLANK = re.compile(r"\s+|--[^\r\n]*")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_WRITE = re.compile(r"(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CALL|DO|COPY|(WITH))\b", re.IGNORECASE)
# FOR UPDATE and FOR NO KEY UPDATE lock rows of a SELECT.
_WRITE_INSIDE = re.compile(r"\b(?:INSERT|(?<!FOR\s)(?<!KEY\s)UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_VALUES = re.compile(r"\bVALUES\s*(?=\()", re.IGNORECASE)
_INERT = [(character, f"\\u{ord(character):04x}") for character in "*%?'$"]
_ACTIVE = re.compile(r"[*%?'$:\\]")


def is_write(sql: str) -> bool:
    """Tell whether a statement may write rows, and so gets a context."""
    usual = _USUAL.get(sql[:7])
    if usual is not None:
        return usual
    keyword = _WRITE.match(sql, _first_word(sql))
    if keyword is None:
        return False
    return keyword[1] is None or _WRITE_INSIDE.search(sql, keyword.end()) is not None


def _first_word(sql: str) -> int:
    position = 0
    while True:
        if blank := _BLANK.match(sql, position):
            position = blank.end()
        elif sql.startswith("/*", position):
            position = _comment_end(sql, position)
        else:
            return position


def _comment_end(sql: str, start: int) -> int:
    # PostgreSQL nests comments, which no regular expression can count.
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def annotate(sql: str, context: Mapping[str, Any]) -> str:
    """Return the statement with its context in front; anything but a write comes back unchanged.

    ``annotate("DELETE FROM t", {"user": 7})`` is ``/*Bemi {"user": 7, "SQL": ...} Bemi*/ DELETE FROM t``.
    The context never raises: what JSON cannot hold is stored as text, what is too large is dropped.
    """
    return prefix(sql, context) + sql if is_write(sql) else sql


def prefix(sql: str, context: Mapping[str, Any]) -> str:
    """The comment for a statement, with the blank that follows it."""
    statement = _sql_json(sql) if len(sql) <= MAX_SQL_CHARACTERS else _encode_sql(sql)
    pairs = context_json(context)[1:-1]
    named = STATEMENT if pairs else STATEMENT[1:]
    return f"{COMMENT_START}{{{pairs}{named}{statement}}}{COMMENT_END} "


def collapse_values(sql: str) -> str:
    """Shorten a VALUES list of like rows: ``VALUES (%s), (%s), (%s)`` is ``VALUES (%s), … ×3``."""
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
    return _string(short)


_sql_json = lru_cache(maxsize=512)(_encode_sql)


def context_json(context: Mapping[str, Any]) -> str:
    """The context as an inert JSON object; never raises. One that nobody changes is encoded once."""
    if not isinstance(context, Context):
        return _encode_context(context)
    if context.encoded is None:
        context.encoded = _encode_context(context)
    return context.encoded


def _encode_context(context: Mapping[str, Any]) -> str:
    pairs = [f"{_key(key)}: {_value(value)}" for key, value in context.items()]
    encoded = ",".join(pairs)
    if len(encoded) <= MAX_CONTEXT_CHARACTERS:
        return f"{{{encoded}}}"
    _warn_once("a context is too large; its largest values are dropped")
    return _without_largest(dict(zip(context, pairs, strict=True)))


def _value(value: Any) -> str:
    try:
        # What nearly all values are: json would make an encoder for each.
        if type(value) is str:
            return _string(value)
        if type(value) is int:
            return str(value)
        if value is None:
            return "null"
        return _inert(_dumps(value))
    except (TypeError, ValueError, RecursionError):
        _warn_once("a context is not JSON; such values are stored as text")
        return _string(_text(value))


def _string(text: str) -> str:
    encoded = encode_basestring_ascii(text)
    # Ids, methods, paths: most strings have nothing to escape.
    if _ACTIVE.search(encoded) is None:
        return encoded
    if "\\u0000" in encoded or "\\ud" in encoded:
        encoded = encode_basestring_ascii(_storable(text))
    return _escape(encoded).replace(":", "\\u003a")


@lru_cache(maxsize=512, typed=True)
def _key(key: Any) -> str:
    return _string(_text(key))


def _dumps(value: Any) -> str:
    encoded = _encode(value)
    if "\\u0000" in encoded or "\\ud" in encoded:
        encoded = json.dumps(_deep(json.loads(encoded)))
    return encoded


def _deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {_storable(key): _deep(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_deep(item) for item in value]
    return _storable(value)


def _storable(value: Any) -> Any:
    # jsonb has neither NUL nor half a surrogate pair: they become visible signs.
    if not isinstance(value, str):
        return value
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\u2400")


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _without_largest(pairs: Mapping[str, str]) -> str:
    """The smallest pairs that fit together, and the names of the others."""
    kept = set()
    room = MAX_CONTEXT_CHARACTERS
    for key in sorted(pairs, key=lambda key: len(pairs[key])):
        room -= len(pairs[key])
        if room >= 0:
            kept.add(key)
    dropped = [_text(key)[:200] for key in pairs if key not in kept]
    named = f"{_key(DROPPED_KEY)}: {_value(dropped)}"
    return f"{{{','.join([*(pairs[key] for key in pairs if key in kept), named])}}}"


def _inert(encoded: str) -> str:
    """Escape, inside a JSON text, all that a driver, a lexer or a paramstyle could read."""
    # Between strings a colon is JSON's own; inside one it could name a parameter.
    parts = _escape(encoded).split('"')
    parts[1::2] = [string.replace(":", "\\u003a") for string in parts[1::2]]
    return '"'.join(parts)


def _escape(encoded: str) -> str:
    if "\\" in encoded:
        encoded = encoded.replace("\\\\", "\\u005c").replace('\\"', "\\u0022")
    # One after the other: they are rare, and a table of all would be looked at for each character.
    for character, escape in _INERT:
        encoded = encoded.replace(character, escape)
    return encoded


# Made once: dumps() makes one for each call that has options. Without its blank a colon could name a
# parameter.
_encode = json.JSONEncoder(allow_nan=False, default=_text, separators=(",", ": ")).encode


@lru_cache(maxsize=16)
def _warn_once(message: str) -> None:
    logger.warning("%s", message)
