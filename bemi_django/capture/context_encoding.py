"""Encode a context as JSON without any character that a driver or the SQL lexer would interpret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from bemi_django.capture import context_masks
from bemi_django.capture.layers import Context, Skipping
from bemi_django.capture.warn_once import warn_once
from bemi_django.wire import (
    DROPPED_KEY,
    INVALID_KEY,
    MAX_CONTEXT_CHARACTERS,
    RESERVED_KEYS,
    SKIP_KEY,
    free_key,
)

# Characters with a meaning to a driver or to the lexer; JSON itself needs none of them.
_INERT = [(character, f"\\u{ord(character):04x}") for character in "*%?'$"]
_ACTIVE = re.compile(r"[*%?'$:\\]")
# Under these keys the database records what it knows of a write that has no context, and the package what it
# has made of a context.
_OWN_KEYS = RESERVED_KEYS | {DROPPED_KEY, INVALID_KEY, SKIP_KEY}
_SKIPPING = f"{json.dumps(SKIP_KEY)}: true"


def context_json(context: Mapping[str, Any]) -> str:
    """Return a context as an inert JSON object. This never raises.

    Args:
        context: The context. The result for a :class:`Context` is cached in it.

    Returns:
        ASCII text in which ``*``, ``%``, ``?``, ``'``, ``$``, and colons inside strings, are escaped.
    """
    if not isinstance(context, Context):
        return _encode_context(context)
    if context.encoded is None:
        context.encoded = _encode_context(context)
    return context.encoded


def _encode_context(context: Mapping[str, Any]) -> str:
    # Every write with a new context comes here, and hardly any has one of our keys.
    name = _key if _OWN_KEYS.isdisjoint(context) else _different_keys(context).__getitem__
    pairs = [
        _SKIPPING if type(value) is Skipping else f"{name(key)}: {_value(context_masks.masked(key, value))}"
        for key, value in context.items()
    ]
    encoded = ",".join(pairs)
    if len(encoded) <= MAX_CONTEXT_CHARACTERS:
        return f"{{{encoded}}}"
    warn_once("a context is too large: its largest values were dropped")
    return _without_largest(dict(zip(context, pairs, strict=True)))


def _value(value: Any) -> str:
    try:
        # Nearly all values are of these types, for which the json module would be slower.
        if type(value) is str:
            return json_string(value)
        if type(value) is int:
            return str(value)
        if value is None:
            return "null"
        return _inert(_dumps(value))
    except (TypeError, ValueError, RecursionError):
        warn_once("a value of a context is not JSON: such values are stored as text")
        return json_string(_text(value))


def json_string(text: str) -> str:
    """Return a text as an inert JSON string, with the same characters escaped.

    Args:
        text: Any text. NUL and lone surrogates, which ``jsonb`` cannot hold, become visible signs.
    """
    encoded = encode_basestring_ascii(text)
    # Most strings, such as ids, methods and paths, need no escapes.
    if _ACTIVE.search(encoded) is None:
        return encoded
    if "\\u0000" in encoded or "\\ud" in encoded:
        encoded = encode_basestring_ascii(_storable(text))
    return _escape(encoded).replace(":", "\\u003a")


@lru_cache(maxsize=512, typed=True)
def _key(key: Any) -> str:
    text = _text(key)
    return json_string(free_key(text, ()) if text in _OWN_KEYS else text)


def _different_keys(context: Mapping[Any, Any]) -> dict[Any, str]:
    """Return the keys of a context in which a key of ours may take the place of another one."""
    texts = {key: _text(key) for key in context}
    taken = texts.values()
    return {
        key: json_string(free_key(text, taken) if text in _OWN_KEYS else text) for key, text in texts.items()
    }


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
    # jsonb can hold neither NUL nor a lone surrogate, so they become visible signs.
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
    """Return the object with the smallest pairs that fit, and the keys of the others."""
    kept = set()
    room = MAX_CONTEXT_CHARACTERS
    for key in sorted(pairs, key=lambda key: len(pairs[key])):
        room -= len(pairs[key])
        if room >= 0:
            kept.add(key)
    dropped = [_text(key)[:200] for key in pairs if key not in kept]
    named = f"{json_string(DROPPED_KEY)}: {_value(dropped)}"
    return f"{{{','.join([*(pairs[key] for key in pairs if key in kept), named])}}}"


def _inert(encoded: str) -> str:
    """Escape every character of a JSON text that a driver or the lexer could interpret."""
    # A colon inside a string could name a parameter; the others belong to JSON.
    parts = _escape(encoded).split('"')
    parts[1::2] = [string.replace(":", "\\u003a") for string in parts[1::2]]
    return '"'.join(parts)


def _escape(encoded: str) -> str:
    if "\\" in encoded:
        encoded = encoded.replace("\\\\", "\\u005c").replace('\\"', "\\u0022")
    # str.replace() in a loop is faster than str.translate(), since these characters are rare.
    for character, escape in _INERT:
        encoded = encoded.replace(character, escape)
    return encoded


# json.dumps() would create an encoder in each call. Without the blank, a colon could name a parameter.
_encode = json.JSONEncoder(allow_nan=False, default=_text, separators=(",", ": ")).encode
