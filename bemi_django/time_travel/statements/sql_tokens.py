"""Divide a statement into tokens as PostgreSQL's lexer does, in one linear pass.

See "Lexical Structure" in PostgreSQL's documentation, and ``src/backend/parser/scan.l``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from bemi_django.patterns import possessive

# Any character that is not ASCII is a letter to the lexer.
_LETTER = r"[A-Za-z_\x80-\U0010ffff]"
_NAME_PART = r"[A-Za-z_0-9$\x80-\U0010ffff]"
_TOKEN = re.compile(
    rf"""(?P<blank>[ \t\n\r\f\v]+|--[^\n\r]*)
    |(?P<comment>/\*)
    |(?P<unicode>[uU]&")
    |(?P<quoted>")
    |(?P<escaped>[eE]')
    |(?P<string>(?:[bBxXnN]|[uU]&)?')
    |(?P<tag>\$(?:{_LETTER}[A-Za-z_0-9\x80-\U0010ffff]*)?\$)
    |(?P<name>{_LETTER}{_NAME_PART}*)
    |(?P<number>[0-9$]{_NAME_PART}*(?:\.{_NAME_PART}+)?)
    |(?P<placeholder>%\([^()]*\)[sbt])
    |(?P<dot>\.)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_PLAIN_STRING = possessive.compiled(r"[^']*+(?:''[^']*+)*+'(?!')")
_ESCAPED_STRING = possessive.compiled(r"[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'(?!')", re.DOTALL)
_QUOTED_NAME = possessive.compiled(r'[^"]*+(?:""[^"]*+)*+"(?!")')
# A string goes on after a line break, with the escapes that it began with. A comment ends with its line: in a
# loop, a row of dashes could be divided into comments in exponentially many ways.
_CONTINUED = possessive.compiled(
    r"[ \t\f\v]*+(?:--[^\n\r]*+)?[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+(?=[\n\r]|\Z))*+'"
)
_UESCAPE = re.compile(r"[ \t\n\r\f\v]*UESCAPE[ \t\n\r\f\v]*'([^'])'", re.IGNORECASE)
_MOST_BYTES = 63
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Kind(Enum):
    """Kinds of tokens; blanks are blanks and comments."""

    BLANK = "blank"
    NAME = "name"
    DOT = "dot"
    OTHER = "other"


class Token(NamedTuple):
    """A token of a statement, from ``start`` to ``end``; ``name`` is the identifier that a NAME denotes."""

    kind: Kind
    start: int
    end: int
    name: str = ""


def tokens_of(sql: str, *, standard_strings: bool = True, is_template: bool = False) -> Iterator[Token]:
    """Yield the tokens of a statement.

    Args:
        sql: The statement; unterminated comments and strings extend to its end.
        standard_strings: The setting ``standard_conforming_strings``: whether a backslash in a plain string
            is an ordinary character.
        is_template: Whether the driver puts parameters into it, so that percent signs are doubled.
    """
    position = 0
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        assert found is not None  # "other" matches any character.
        kind, end, name = _completed(sql, found, standard_strings)
        yield Token(kind, position, end, name.replace("%%", "%") if is_template else name)
        position = end


def folded(identifier: str) -> str:
    """Return the identifier that a name without quotes denotes: lower case, for ASCII only, and cut."""
    return _cut(identifier.translate(_ASCII_LOWER))


def _completed(sql: str, found: re.Match[str], standard_strings: bool) -> tuple[Kind, int, str]:
    """Return the kind, the end and the identifier of the token that begins with a match."""
    group, start, end = found.lastgroup, found.start(), found.end()
    if group == "blank":
        return Kind.BLANK, end, ""
    if group == "comment":
        return Kind.BLANK, _comment_end(sql, start), ""
    if group == "name":
        return Kind.NAME, end, folded(found[0])
    if group in ("quoted", "unicode"):
        closing = _QUOTED_NAME.match(sql, end)
        if closing is None:
            return Kind.OTHER, len(sql), ""
        text = closing[0][:-1].replace('""', '"')
        if group == "quoted":
            return Kind.NAME, closing.end(), _cut(text)
        escape = _UESCAPE.match(sql, closing.end())
        last = escape.end() if escape else closing.end()
        return Kind.NAME, last, _cut(_unescaped(text, escape[1] if escape else "\\"))
    if group in ("escaped", "string"):
        has_escapes = group == "escaped" or (found[0] == "'" and not standard_strings)
        return Kind.OTHER, _string_end(sql, end, has_escapes), ""
    if group == "tag":
        closing_tag = sql.find(found[0], end)
        return Kind.OTHER, closing_tag + len(found[0]) if closing_tag >= 0 else len(sql), ""
    return Kind.DOT if group == "dot" else Kind.OTHER, end, ""


def _comment_end(sql: str, start: int) -> int:
    # Comments nest.
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def _string_end(sql: str, start: int, has_escapes: bool) -> int:
    pattern = _ESCAPED_STRING if has_escapes else _PLAIN_STRING
    while True:
        closing = pattern.match(sql, start)
        if closing is None:
            return len(sql)
        more = _CONTINUED.match(sql, closing.end())
        if more is None:
            return closing.end()
        start = more.end()


def _unescaped(text: str, escape: str) -> str:
    r"""Decode an identifier in the notation ``U&"d\0061ta"``."""
    mark = re.escape(escape)
    pattern = rf"{mark}(?:({mark})|([0-9A-Fa-f]{{4}})|\+([0-9A-Fa-f]{{6}}))"
    return re.sub(pattern, lambda found: _character(found), text)


def _character(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]
    number = int(found[2] or found[3], 16)
    return chr(number) if number <= 0x10FFFF else found[0]


def _cut(identifier: str) -> str:
    encoded = identifier.encode(errors="surrogatepass")
    return identifier if len(encoded) <= _MOST_BYTES else encoded[:_MOST_BYTES].decode(errors="ignore")
