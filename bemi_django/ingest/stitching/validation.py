"""Validate contexts where they enter: anybody who may write can send one.

A context that jsonb would not accept, or that exceeds the limits here, is kept as text under a key. Nothing
reads a context before this module.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import accumulate
from math import isfinite

from bemi_django.patterns import possessive
from bemi_django.wire import INVALID_KEY, MAX_CONTEXT_CHARACTERS, MAX_SQL_CHARACTERS
from bemi_django.wire.json_values import values_of

#: The context of a row whose statement sent none.
NO_CONTEXT = b"{}"
#: The depth to which objects and arrays may be nested: parsers have limits of their own, or none and crash.
MAX_DEPTH = 100
#: Bytes of a context with its statement, each character of which may take up to twelve.
MAX_BYTES = MAX_CONTEXT_CHARACTERS + 12 * MAX_SQL_CHARACTERS
#: Bytes that are kept of an invalid one.
_MAX_INVALID_BYTES = 1024 * 1024
#: Digits of an integer that Python reads.
_MAX_DIGITS = 4_300
#: Digits that numeric may have after the decimal point (PostgreSQL docs, 8.1).
_NUMERIC_FRACTION = 16_383
_CUT = "\u2026 (cut)"

_STRING = possessive.compiled(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BACKSLASH, _MINUS = b"\\-"
_ALIKE = bytes.maketrans(b"{}", b"[]")
_STEPS = {ord("["): 1, ord("]"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_TINY = re.compile(rb"[eE]-\d{5}").search
# Only after an even number of backslashes; otherwise the backslash of \u belongs to the text.
_NUL = possessive.compiled(rb"(?<!\\)(?:\\\\)*+\\u0000").search


def storable_json(content: bytes) -> bytes:
    """Return a context that jsonb accepts: ``content`` itself, or an object that holds it as text."""
    if len(content) > MAX_BYTES or _is_too_deep(content):
        return invalid_context(content)
    try:
        # What this parser accepts, jsonb accepts, too, except for NUL and tiny numbers; it is faster by far.
        if not (_BACKSLASH in content and b"\\u0000" in content or _MINUS in content and _has_tiny(content)):
            return content if isinstance(values_of(content), dict) else invalid_context(content)
    except ValueError:
        pass
    try:
        # Kept as it came if possible: decoding would damage large numbers.
        if isinstance(_loads(content), dict) and not _needs_care(content):
            return content
    except (ValueError, ArithmeticError):
        pass
    return invalid_context(content)


def _has_tiny(content: bytes) -> bool:
    # ``in`` takes bytes for a number first, which takes several times as long as the search.
    return (content.find(b"e-") >= 0 or content.find(b"E-") >= 0) and bool(_TINY(content))


def invalid_context(content: bytes) -> bytes:
    """Return a context that holds ``content``, or the beginning of it, as text."""
    text = content[:_MAX_INVALID_BYTES].decode("utf-8", "replace").replace("\0", "\u2400")
    if len(content) > _MAX_INVALID_BYTES:
        text += _CUT
    return json.dumps({INVALID_KEY: text}).encode()


def _is_too_deep(content: bytes) -> bool:
    # Most contexts have one bracket, which is found sooner than brackets are counted.
    if content.find(b"{", 1) < 0 and content.find(b"[") < 0:
        return False
    # Almost all of the others have fewer brackets than that, wherever they stand.
    if content.count(b"{") + content.count(b"[") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", content).translate(_ALIKE, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH


def _loads(content: bytes) -> object:
    # As text, so that no other encoding is guessed.
    return json.loads(content.decode(), parse_int=_integer, parse_float=_fraction, parse_constant=_reject)


def _integer(literal: str) -> str:
    # Those who read the log with Python's json could not read a longer one.
    if len(literal) > _MAX_DIGITS:
        raise ValueError("an integer with too many digits")
    return literal


def _fraction(literal: str) -> str:
    # jsonb prints 1e400 as an integer; digits that numeric does not have are refused by the server.
    if not isfinite(float(literal)) or int(Decimal(literal).as_tuple().exponent) < -_NUMERIC_FRACTION:
        raise ValueError("a number that is too large or too exact")
    return literal


def _needs_care(content: bytes) -> bool:
    if _NUL(content):
        return True
    if b"\\ud" in content or b"\\uD" in content:
        json.dumps(_loads(content), ensure_ascii=False).encode()
    return False


def _reject(constant: str) -> None:
    raise ValueError(constant)
