"""Make sure that jsonb accepts a context: what is not a JSON object is kept as text under a key."""

from __future__ import annotations

import json
import re

import orjson

from bemi_django.wire import INVALID_KEY

#: The context of a row whose statement sent none.
NO_CONTEXT = b"{}"
# Only behind an even number of backslashes, else the backslash of \u belongs to the text.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000").search


def storable_json(content: bytes) -> bytes:
    """Return a context that jsonb accepts: ``content`` itself, or an object that holds it as text."""
    try:
        # Everything that this parser accepts, jsonb accepts, too, except for NUL; it is faster by far.
        if b"\\u0000" not in content and isinstance(orjson.loads(content), dict):
            return content
    except ValueError:
        pass
    try:
        # Kept as it came if possible: decoding would damage large numbers.
        if isinstance(json.loads(content), dict) and not _needs_care(content):
            return content
    except (ValueError, RecursionError):
        pass
    return invalid_context(content)


def invalid_context(content: bytes) -> bytes:
    """Return a context that holds ``content``, which is not one, as text."""
    text = content.decode("utf-8", "replace").replace("\0", "\u2400")
    return json.dumps({INVALID_KEY: text}).encode()


def _needs_care(content: bytes) -> bool:
    if b"NaN" in content or b"Infinity" in content:
        json.loads(content, parse_constant=_reject)
    if _NUL(content):
        return True
    if b"\\ud" in content or b"\\uD" in content:
        json.dumps(json.loads(content), ensure_ascii=False).encode()
    return False


def _reject(constant: str) -> None:
    raise ValueError(constant)
