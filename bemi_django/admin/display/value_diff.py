"""Compare two values by the words of a text or the keys of JSON."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from bemi_django.log.lossless_json import dumps

#: Longer texts are shown as changed as a whole, because matching takes quadratic time.
MOST_WORDS = 2000

_NOTHING = object()
_WORD = re.compile(r"\w+|\s+|[^\w\s]")


class Piece(NamedTuple):
    """A part of a value's text, and whether it differs from the other side."""

    text: str
    is_changed: bool


class Sides(NamedTuple):
    """The texts of a value before and after a change."""

    before: list[Piece]
    after: list[Piece]


def differences(before: Any, after: Any) -> Sides:
    """Return the texts of two values with their differing parts marked.

    Two texts are compared by words and two JSON documents by lines; other values differ as a whole.
    """
    if are_alike(before, after):
        return Sides([Piece(as_text(before), False)], [Piece(as_text(after), False)])
    if isinstance(before, str) and isinstance(after, str):
        return _words(before, after)
    if isinstance(before, (dict, list)) and type(before) is type(after):
        return Sides(_joined(_lines(before, after)), _joined(_lines(after, before)))
    return Sides([Piece(as_text(before), True)], [Piece(as_text(after), True)])


def are_alike(before: Any, after: Any) -> bool:
    """Tell whether two values have the same JSON: 1 differs from both true and 1.0."""
    return dumps(before) == dumps(after)


def as_text(value: Any) -> str:
    """Return a value for people: a string without quotes, JSON on several lines, all digits."""
    return value if isinstance(value, str) else pretty_json(value)


def pretty_json(value: Any, indent: str = "") -> str:
    """Return JSON with one key per line."""
    if not isinstance(value, (dict, list)) or not value:
        return dumps(value)
    inner = f"{indent}  "
    if isinstance(value, dict):
        lines = [f"{inner}{dumps(key)}: {pretty_json(item, inner)}" for key, item in value.items()]
    else:
        lines = [f"{inner}{pretty_json(item, inner)}" for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(lines), f"{indent}{closing}"])


def _words(before: str, after: str) -> Sides:
    old, new = _WORD.findall(before), _WORD.findall(after)
    if len(old) + len(new) > MOST_WORDS:
        return Sides([Piece(before, True)], [Piece(after, True)])
    sides = Sides([], [])
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for pieces, text in ((sides.before, "".join(old[i:j])), (sides.after, "".join(new[k:m]))):
            if text:
                pieces.append(Piece(text, tag != "equal"))
    return sides


def _lines(value: Any, other: Any, indent: str = "", label: str = "", comma: str = "") -> list[Piece]:
    """Return the lines of a JSON value, marking those that the other value lacks at the same path."""
    if not isinstance(value, (dict, list)) or not value or type(value) is not type(other):
        return [
            Piece(
                f"{indent}{label}{pretty_json(value, indent)}{comma}\n",
                other is _NOTHING or not are_alike(value, other),
            )
        ]
    is_object = isinstance(value, dict)
    items: list[tuple[Any, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
    found = [Piece(f"{indent}{label}{'{' if is_object else '['}\n", False)]
    for place, (key, item) in enumerate(items, 1):
        named = f"{dumps(key)}: " if is_object else ""
        has_other = key in other if is_object else key < len(other)
        opposite = other[key] if has_other else _NOTHING
        found += _lines(item, opposite, f"{indent}  ", named, "," if place < len(items) else "")
    return [*found, Piece(f"{indent}{'}' if is_object else ']'}{comma}\n", False)]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Join adjacent pieces of one kind."""
    found: list[Piece] = []
    for piece in pieces:
        if found and found[-1].is_changed == piece.is_changed:
            found[-1] = Piece(found[-1].text + piece.text, piece.is_changed)
        else:
            found.append(piece)
    return found
