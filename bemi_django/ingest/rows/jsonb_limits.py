"""Tell whether jsonb holds a JSON text, without asking the server, whose log would show the text.

The type json takes more than jsonb does: NUL and half surrogates as escapes, and numbers of any size.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal

from bemi_django.ingest.protocol.oversize import LIMIT
from bemi_django.patterns import possessive

#: Digits of a numeric before the decimal point, and after it (PostgreSQL docs, 8.1).
_WHOLE_DIGITS = 131_072
_FRACTION_DIGITS = 16_383
# Only after an even number of backslashes; otherwise the backslash of \u belongs to the text.
_NUL = possessive.compiled(rb"(?<!\\)(?:\\\\)*+\\u0000").search
# Backslashes stand in strings only.
_SURROGATES = possessive.compiled(
    rb"(?<!\\)(?:\\\\)*+\\u[dD](?:[89abAB]..\\u[dD][c-fC-F]..|(?P<half>[89a-fA-F]))"
).finditer
_TOKENS = possessive.compiled(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?P<number>[-\d][-+.\deE]*+)', re.DOTALL
).finditer
#: Bytes from which the objects of a JSON text would take more memory than it is worth.
_LARGE = 1 << 20
# What json holds and jsonb may not: escapes, exponents and long numbers.
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|[eE][+-]?\d{4}|\d{16000}").search


class NotJsonb(ValueError):
    """A value of the type json that jsonb cannot hold."""


def require_jsonb(value: bytes) -> bytes:
    """Return a value of the type json.

    Raises:
        NotJsonb: jsonb cannot hold it.
    """
    if _SUSPICIOUS(value) and not is_jsonb(value):
        raise NotJsonb
    return value


def is_jsonb(text: bytes) -> bool:
    """Return whether jsonb holds the JSON text; False for some that are nested very deeply, too."""
    if len(text) > LIMIT:
        return False
    if len(text) >= _LARGE:
        return _holds_large(text)
    try:
        value = json.loads(
            text.decode(), parse_int=_number, parse_float=_number, parse_constant=_refuse, strict=True
        )
        # Half of a surrogate pair has no UTF-8.
        json.dumps(value, ensure_ascii=False).encode()
        return not _NUL(text)
    except (ValueError, ArithmeticError, RecursionError):
        return False


def _holds_large(text: bytes) -> bool:
    """Return what :func:`is_jsonb` does, without the objects of the JSON text, which is valid."""
    if _NUL(text) or any(found["half"] for found in _SURROGATES(text)):
        return False
    try:
        for token in _TOKENS(text):
            if token["number"]:
                _number(token["number"].decode())
    except (ValueError, ArithmeticError):
        return False
    return True


def _number(literal: str) -> str:
    if len(literal) > _WHOLE_DIGITS or "e" in literal or "E" in literal:
        number = Decimal(literal)
        is_too_large = number != 0 and number.adjusted() >= _WHOLE_DIGITS
        if is_too_large or int(number.as_tuple().exponent) < -_FRACTION_DIGITS:
            raise ValueError("more digits than numeric has")
    elif "." in literal and len(literal) - literal.index(".") - 1 > _FRACTION_DIGITS:
        raise ValueError("more digits than numeric has")
    return "0"


def _refuse(constant: str) -> str:
    raise ValueError(constant)
