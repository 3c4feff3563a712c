"""Print JSON as PostgreSQL prints jsonb, for keys that must be found by their text.

Numbers keep all their digits, and values may be nested as deeply as in PostgreSQL: neither Python's limit for
integers nor its recursion limit applies.
"""

from __future__ import annotations

import re
from decimal import Decimal

import orjson

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|[^\s\[\]{},:"]+', re.DOTALL)
#: Digits: more than numeric can hold.
_LONGEST_NUMBER = 200_000
_OPEN = {b"]": b"[", b"}": b"{"}


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
