"""Remove the values from an SQL statement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from bemi_django.patterns import possessive

# Any character that is not ASCII is a letter to PostgreSQL, also those that are none to Python.
_TOKEN = possessive.compiled(
    r"""
    (?P<comment> --[^\r\n]* | /\* )
  | (?P<name> "(?:[^"]|"")*+(?:"|\Z) )
  | (?P<escaped> (?<![\w$\x80-\U0010ffff])[eE]'(?:[^'\\]|\\.|'')*+(?:'|\Z) )
  | (?P<string> (?:\b[bBxXnN]|\b[uU]&)?'(?:[^']|'')*+(?:'|\Z) )
  | (?P<dollar> (?<![\w$\x80-\U0010ffff])\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?)\$
        .*? (?:\$(?-i:(?P=tag))\$|\Z) )
  | (?P<setting> \bSET\s+(?:(?:SESSION|LOCAL)\s+)?\w+(?:\.\w+)+\s*(?:=|\bTO\b)\s*[^\s;,'"$()]+ )
  | (?P<placeholder> %\(\w+\)s | %s | \$\d+ | (?<!:):\w+ )
  | (?P<number> (?<![\w$"])\.?\d[\w.]* )
  | (?P<flag> \b(?:true|false)\b )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
# What SET sets in a statement: columns, and fields of them, or settings.
_SETS_COLUMNS = re.compile(r"\b(?P<columns>UPDATE)\b|\bALTER\b|;", re.IGNORECASE)
_KEPT = ("name", "placeholder")
#: Characters of a statement whose answer is remembered.
_MOST_REMEMBERED = 2000


def redact_literals(statement: str, mask: str) -> str:
    """Return a statement with all literals and comments replaced.

    Args:
        statement: An SQL statement, possibly cut off.
        mask: What to write in place of each literal.
    """
    if len(statement) > _MOST_REMEMBERED:
        return "".join(_redacted(statement, mask))
    return _remembered(statement, mask)


@lru_cache(maxsize=512)
def _remembered(statement: str, mask: str) -> str:
    # The statements of an application are few: their values are parameters.
    return "".join(_redacted(statement, mask))


def _redacted(statement: str, mask: str) -> Iterator[str]:
    position = 0
    sets_columns = False
    while match := _TOKEN.search(statement, position):
        before = statement[position : match.start()]
        yield before
        position = match.end()
        for word in _SETS_COLUMNS.finditer(before):
            sets_columns = word["columns"] is not None
        if match["setting"] and sets_columns:
            # A field of a column: what follows is searched for literals.
            position = match.start() + len("SET")
            yield statement[match.start() : position]
            continue
        if match.lastgroup in _KEPT:
            yield match[0]
            continue
        yield mask
        if match[0] == "/*":
            position = _end_of_comment(statement, position)
        elif match["string"] and "\\'" in match[0]:
            # Without standard_conforming_strings, or after E'' on the line before, it ends elsewhere.
            return
    yield statement[position:]


def _end_of_comment(statement: str, position: int) -> int:
    depth = 1
    for mark in _COMMENT_MARK.finditer(statement, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(statement)
