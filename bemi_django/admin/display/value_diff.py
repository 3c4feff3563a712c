"""Compare two values by the lines and words of a text, or of JSON with one key per line."""

from __future__ import annotations

from typing import Any

from bemi_django.admin.display.text_diff import Effort, Piece, Sides, text_differences
from bemi_django.log.lossless_json import dumps


def differences(before: Any, after: Any, *, page: Effort | None = None) -> Sides:
    """Return the texts of two values with their differing parts marked.

    Two texts, and two JSON documents of one kind, are compared by lines and words; so an item that was
    inserted into a list is all that differs. Other values differ as a whole.

    Args:
        before: The one value.
        after: The other value.
        page: What may be spent on all comparisons of a page; beyond it, texts are marked as a whole.
    """
    if are_alike(before, after):
        return Sides([Piece(as_text(before), False)], [Piece(as_text(after), False)])
    if isinstance(before, str) and isinstance(after, str):
        return text_differences(before, after, page=page)
    if isinstance(before, (dict, list)) and type(before) is type(after) and before and after:
        # The comma tells only whether something follows.
        texts = pretty_json(before), pretty_json(after)
        return text_differences(*texts, lambda line: line.rstrip(",\n"), page=page)
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
