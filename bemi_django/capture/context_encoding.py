"""A context as JSON in which a driver, a lexer or a paramstyle finds nothing to read."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from bemi_django.capture.context import Context
from bemi_django.wire import DROPPED_KEY, MAX_CONTEXT_CHARACTERS

logger = logging.getLogger(__name__)

# JSON itself needs none of these.
_INERT = [(character, f"\\u{ord(character):04x}") for character in "*%?'$"]
_ACTIVE = re.compile(r"[*%?'$:\\]")


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
            return string(value)
        if type(value) is int:
            return str(value)
        if value is None:
            return "null"
        return _inert(_dumps(value))
    except (TypeError, ValueError, RecursionError):
        _warn_once("a context is not JSON; such values are stored as text")
        return string(_text(value))


def string(text: str) -> str:
    """A text as a JSON string, in the same way."""
    encoded = encode_basestring_ascii(text)
    # Ids, methods, paths: most strings have nothing to escape.
    if _ACTIVE.search(encoded) is None:
        return encoded
    if "\\u0000" in encoded or "\\ud" in encoded:
        encoded = encode_basestring_ascii(_storable(text))
    return _escape(encoded).replace(":", "\\u003a")


@lru_cache(maxsize=512, typed=True)
def _key(key: Any) -> str:
    return string(_text(key))


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
