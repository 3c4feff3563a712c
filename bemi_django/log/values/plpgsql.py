"""Read in the source of a trigger's function which columns it sets at every update.

This is no parser of PL/pgSQL: what it does not know is taken for something that depends on the row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(--[^\n]*|/\*.*?\*/)|('(?:[^']|'')*'|\$(\w*)\$.*?\$\3\$|"(?:[^"]|"")*"|[\w$]+|:=|<>|!=|<<|[^\s\w])""",
    re.DOTALL,
)
_ROW = r"(?:row )?(?:\( )?(?:old|new)(?: \. \*)?(?: \))?"
_DIFFERS = re.compile(rf"{_ROW} (?:is distinct from|<>|!=) {_ROW}")
_AS_BEFORE = re.compile(r"(?:new|old) \. (\S+) (?:is not distinct from|=) (?:new|old) \. (\S+)")
_OPERATION = re.compile(r"tg_op (=|<>|!=|in|not in) ([^a-z]*(?:'\w+'[^a-z]*)+)")
_ASSIGNED = re.compile(r"new \. (\S+) (?::=|=) (.+)")
_WHOLE_ROW = re.compile(r"new (?::=|=) |(?:.* )?into (?:strict )?new\b")
_HEADERS = {
    "if": "then",
    "elsif": "then",
    "elseif": "then",
    "while": "loop",
    "for": "loop",
    "foreach": "loop",
}
_OPENERS = ("begin", "else", "loop", "case", "exception")

#: The columns whose assignments in a block are made at every update, or a word for all or none of them.
_ALWAYS, _NEVER, _PERHAPS = "always", "never", "perhaps"
_When = str | frozenset[str]


@dataclass
class _Block:
    """A block of statements; ``is_open`` tells whether the next branch of its IF may still be entered."""

    when: _When
    is_open: bool = False


def always_set(source: str) -> set[str]:
    """Return the columns that a function sets whenever a row is updated, and not from what they were given.

    Args:
        source: The body of a function in PL/pgSQL (``pg_proc.prosrc``).
    """
    found: set[str] = set()
    blocks: list[_Block] = []
    for statement in _statements(source):
        word = statement.split(" ", 1)[0]
        if _WHOLE_ROW.match(statement) or word == "<<":
            return set()
        if word in _HEADERS or word in _OPENERS:
            _open(blocks, word, statement)
        elif word == "end":
            blocks = blocks[:-1]
        elif word == "return" and blocks and (when := _when(blocks)) != _NEVER:
            return found if "return new" in statement or when != _ALWAYS else set()
        elif blocks and (column := _assigned(statement)) and _is_entered(_when(blocks), column):
            found.add(column.strip('"').replace('""', '"').replace("\0", " "))
    return found


def is_always(condition: str) -> bool:
    """Tell whether the condition of a trigger (``WHEN``) is true at every update that changes something."""
    return _judged([_word(token) for _, token, _ in _TOKEN.findall(condition) if token]) == _ALWAYS


def _statements(source: str) -> Iterator[str]:
    """Yield statements without their semicolons, and the heads of blocks, as words with single blanks."""
    words: list[str] = []
    for comment, token, _ in _TOKEN.findall(source):
        if comment:
            continue
        if token == ";":
            yield " ".join(words)
            words = []
            continue
        words.append(_word(token))
        first = words[0]
        if words[-1] == _HEADERS.get(first) or (len(words) == 1 and first in _OPENERS):
            yield " ".join(words)
            words = []


def _word(token: str) -> str:
    """Return a token in lower case; the name of a column that needs quotes keeps them."""
    if token.startswith('"'):
        return token[1:-1] if re.fullmatch(r'"[a-z_][a-z0-9_]*"', token) else token.replace(" ", "\0")
    return token.lower() if not token.startswith("'") else token.lower().replace(" ", "\0")


def _open(blocks: list[_Block], word: str, statement: str) -> None:
    if word == "begin":
        blocks.append(_Block(_ALWAYS))
    elif word == "if":
        blocks.append(_branch(True, _condition(statement)))
    elif word in ("elsif", "elseif", "else") and blocks:
        is_open = blocks.pop().is_open
        blocks.append(_branch(is_open, _ALWAYS if word == "else" else _condition(statement)))
    elif word == "exception" and blocks:
        blocks[-1] = _Block(_PERHAPS)
    else:
        blocks.append(_Block(_PERHAPS))


def _condition(statement: str) -> _When:
    return _judged(statement.split(" ")[1:-1])


def _branch(is_open: bool, when: _When) -> _Block:
    if not is_open and when != _NEVER:
        when = _PERHAPS
    return _Block(when, is_open and when == _NEVER)


def _judged(words: list[str]) -> _When:
    """Tell whether a condition is true at an update that changes something."""
    while words and words[0] == "(" and _closes(words) == len(words) - 1:
        words = words[1:-1]
    alternatives = list(_divided(words, "or"))
    if len(alternatives) > 1:
        return _any([_judged(part) for part in alternatives])
    parts = list(_divided(words, "and"))
    if len(parts) > 1:
        return _when_all([_judged(part) for part in parts])
    return _atom(" ".join(words))


def _atom(text: str) -> _When:
    if operation := _OPERATION.fullmatch(text):
        is_named = "'update'" in operation[2]
        return _ALWAYS if is_named is (operation[1] in ("=", "in")) else _NEVER
    if _DIFFERS.fullmatch(text):
        return _ALWAYS
    same = _AS_BEFORE.fullmatch(text)
    # It stays as it was unless whoever updates the row gives it a value.
    return frozenset([same[1]]) if same and same[1] == same[2] else _PERHAPS


def _any(found: list[_When]) -> _When:
    if _ALWAYS in found:
        return _ALWAYS
    return _NEVER if all(one == _NEVER for one in found) else _PERHAPS


def _when(blocks: list[_Block]) -> _When:
    return _when_all([block.when for block in blocks])


def _when_all(found: Iterable[_When]) -> _When:
    when: _When = _ALWAYS
    for one in found:
        if _NEVER in (one, when):
            when = _NEVER
        elif _PERHAPS in (one, when):
            when = _PERHAPS
        elif isinstance(one, frozenset):
            when = one & when if isinstance(when, frozenset) else one
    return when


def _is_entered(when: _When, column: str) -> bool:
    return column in when if isinstance(when, frozenset) else when == _ALWAYS


def _assigned(statement: str) -> str | None:
    """Return the column of NEW that a statement sets to what does not depend on its value there."""
    assigned = _ASSIGNED.fullmatch(statement)
    if assigned is None:
        return None
    column, value = assigned.groups()
    own = rf"new \. {re.escape(column)}(?!\S)"
    counted = rf"(?:coalesce \( )?{own}(?: , \d+ \))? \+ \d+"
    return column if re.fullmatch(counted, value) or not re.search(rf"(?<!\S){own}", value) else None


def _closes(words: list[str]) -> int:
    """Return where the first parenthesis is closed, or -1."""
    depth = 0
    for number, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth == 0:
            return number
    return -1


def _divided(words: list[str], by: str) -> Iterator[list[str]]:
    part: list[str] = []
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if word == by and depth == 0:
            yield part
            part = []
        else:
            part.append(word)
    yield part
