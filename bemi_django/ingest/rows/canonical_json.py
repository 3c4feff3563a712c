"""Print JSON as PostgreSQL prints jsonb: keys that must be found by their text, and rows that are sealed.

Most values of rows are printed so in any case; the encoders here are for the others.

Numbers keep all their digits, and values may be nested as deeply as in PostgreSQL: neither Python's limit for
integers nor its recursion limit applies.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import orjson

from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.values import Encoder
from bemi_django.patterns import possessive
from bemi_django.wire.json_values import values_of

_TOKEN = possessive.compiled(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]|[^\s\[\]{},:"]+', re.DOTALL)
#: Digits: more than numeric can hold.
_LONGEST_NUMBER = 200_000
(_EXPONENT,) = b"e"
_OPEN = {b"]": b"[", b"}": b"{"}
_SIMPLE = frozenset((str, int, bool, type(None)))
_CANONICAL = frozenset((values.text, values.boolean, values.number, values.timestamp, values.timestamptz))


def canonical(rendered: bytes) -> bytes:
    """Return JSON text as PostgreSQL prints it after a conversion to jsonb.

    Raises:
        ValueError: If the text is not JSON.
    """
    # The innermost container that is open is the last one: its bracket, and what it holds so far.
    containers: list[tuple[bytes, list[bytes]]] = [(b"", [])]
    for match in _TOKEN.finditer(rendered):
        token = match[0]
        if token in (b"[", b"{"):
            containers.append((token, []))
            continue
        if token in _OPEN:
            bracket, parts = containers.pop()
            if bracket != _OPEN[token]:
                raise ValueError("brackets that do not match")
            token = _array(parts) if token == b"]" else _object(parts)
        else:
            token = _scalar(token)
        containers[-1][1].append(token)
    if len(containers) != 1 or len(containers[0][1]) != 1:
        raise ValueError("not one JSON value")
    return containers[0][1][0]


def canonical_encoder(encode: Encoder | None, *, is_unicode: bool) -> Encoder | None:
    """Return an encoder that renders the values of another one as jsonb prints them.

    Args:
        encode: The encoder; None stays None.
        is_unicode: Whether the source prints jsonb as a log in UTF-8 does: keys are sorted by their bytes.
    """
    if encode is None or encode in _CANONICAL or (encode is values.raw and is_unicode):
        return encode
    if encode is values.fraction:
        return _fraction
    return lambda value: canonical(encode(value))


def _fraction(value: bytes) -> bytes:
    if _EXPONENT in value or value[:2] == b"-0":
        return canonical(value)
    return values.fraction(value)


def canonical_context(context: bytes) -> bytes:
    """Return a context in a form that depends neither on the order of its keys nor on spaces.

    Applied to what jsonb makes of the context, it returns the same. What jsonb refuses is returned as it is.
    """
    if (found := _without_fractions(context)) is not None:
        return found
    try:
        # The digits of fractions and of large integers have to stay as jsonb has them.
        printed = canonical(context)
    except ValueError:
        return context
    return _without_fractions(printed) or printed


def _array(parts: list[bytes]) -> bytes:
    return b"[" + b", ".join(parts) + b"]"


def _object(parts: list[bytes]) -> bytes:
    # Of equal keys the last one counts; jsonb sorts shorter keys first.
    pairs = dict(zip(parts[::2], parts[1::2], strict=True))
    ordered = sorted(pairs, key=_sort_key)
    return b"{" + b", ".join(key + b": " + pairs[key] for key in ordered) + b"}"


def _sort_key(key: bytes) -> tuple[int, bytes]:
    if key[:1] != b'"':
        raise ValueError("a key that is not a string")
    text = orjson.loads(key).encode()
    return len(text), text


def _scalar(token: bytes) -> bytes:
    if token[:1] == b'"':
        return orjson.dumps(orjson.loads(token))
    if token in (b"true", b"false", b"null"):
        return token
    if token.removeprefix(b"-").isdigit():
        return b"0" if token == b"-0" else token
    number = _number(token)
    return f"{abs(number) if number == 0 else number:f}".encode()


def _number(token: bytes) -> Decimal:
    try:
        number = Decimal(token.decode())
    except ArithmeticError as error:
        raise ValueError("not a number") from error
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
        raise ValueError("not a number that jsonb can hold")
    return number


def _without_fractions(context: bytes) -> bytes | None:
    try:
        value = values_of(context)
    except ValueError:
        return None
    if _has_fraction(value.values() if isinstance(value, dict) else (value,)):
        return None
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _has_fraction(held: Collection[Any]) -> bool:
    if _SIMPLE.issuperset(map(type, held)):
        return False
    for value in held:
        kind = value.__class__
        if kind is float:
            return True
        if (kind is dict and _has_fraction(value.values())) or (kind is list and _has_fraction(value)):
            return True
    return False
