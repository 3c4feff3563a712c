"""Read and write JSON without losing digits of numbers, as a plain float would."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

# int() refuses more than 4300 digits.
_LONGEST_INTEGER = 4000


class Number(float):
    """A float that keeps the digits it was read from; two Numbers compare by these digits."""

    __slots__ = ("literal",)

    #: The number as it was written.
    literal: str

    def __new__(cls, literal: str) -> Number:  # noqa: D102 - ruff does not count it as special
        number = super().__new__(cls, literal)
        number.literal = literal
        return number

    def __getnewargs__(self) -> Any:
        return (self.literal,)

    def __repr__(self) -> str:
        return self.literal

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Number):
            return Decimal(self.literal) == Decimal(other.literal)
        return float(self) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = float.__hash__


class LosslessDecoder(json.JSONDecoder):
    """Decode fractions, and integers too long for ``int()``, as :class:`Number`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(parse_float=Number, parse_int=_integer, **options)


def loads(text: str) -> Any:
    """Parse JSON, keeping every digit of its numbers."""
    return _decoder.decode(text)


def dumps(value: Any) -> str:
    """Serialize what :func:`loads` returned, digit for digit, as jsonb prints it."""
    if value.__class__ is str:
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dumps(key)}: {dumps(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(dumps, value)) + "]"
    if isinstance(value, (Number, Decimal)):
        return value.literal if isinstance(value, Number) else f"{value:f}"
    return _encoder.encode(value)


def with_value(text: str, key: str, change: Callable[[str], str]) -> str:
    """Return the text of an object in which the value under a key is another one; the same without the key.

    Args:
        text: A JSON object as PostgreSQL or orjson prints it.
        key: A key without characters that JSON escapes.
        change: Returns the text of the other value for the text of the one that is there.

    Raises:
        RecursionError: A value is nested too deeply.
    """
    head, found, rest = text.partition(f'"{key}":')
    if not found:
        return text
    if head[-1] == "\\" or found in rest or text.find("{", 1) != -1:
        # It can be a key of an inner object, or the end of another key.
        at = spans(text).get(key)
        return text if at is None else f"{text[: at[0]]}{change(text[slice(*at)])}{text[at[1] :]}"
    begin = 1 if rest[0] == " " else 0
    end = end_of(rest, begin)
    return f"{head}{found}{rest[:begin]}{change(rest[begin:end])}{rest[end:]}"


def spans(text: str) -> dict[str, tuple[int, int]]:
    """Return where the values of an object begin and end in its text, by their keys.

    Args:
        text: A JSON object as PostgreSQL or orjson prints it.

    Raises:
        RecursionError: A value is nested too deeply.
    """
    found = {}
    at, last = 1, len(text) - 1
    while at < last:
        key, at = _scan(text, at)
        at += 1 + (text[at + 1] == " ")
        end = end_of(text, at)
        found[key] = (at, end)
        at = end + 1 + (end < last and text[end + 1] == " ")
    return found


def end_of(text: str, begin: int) -> int:
    """Return where the value ends that begins at a position of a JSON text."""
    if text[begin] == '"':
        quote = text.find('"', begin + 1)
        if quote != -1 and text[quote - 1] != "\\":
            return quote + 1
    end: int = _scan(text, begin)[1]
    return end


def hstore(value: Any) -> Any:
    """Return the hstore text for the JSON that ``to_jsonb`` makes of an hstore or an array of them."""
    if isinstance(value, list):
        return [hstore(part) for part in value]
    if not isinstance(value, dict):
        return value
    return ", ".join(
        f"{_quoted(key)}=>{'NULL' if part is None else _quoted(str(part))}" for key, part in value.items()
    )


def _vector(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _vectors(value: Any) -> Any:
    return [_vector(part) for part in value] if isinstance(value, list) else value


#: By type: the text for the JSON that ``to_jsonb`` makes of vectors, and of arrays of them. Read from an
#: array, a vector would begin at another number, and be equal to no other.
VECTORS: dict[str, Callable[[Any], Any]] = {
    "pg_catalog.int2vector": _vector,
    "pg_catalog.oidvector": _vector,
    "pg_catalog._int2vector": _vectors,
    "pg_catalog._oidvector": _vectors,
}


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _integer(literal: str) -> int | Number:
    return int(literal) if len(literal) < _LONGEST_INTEGER else Number(literal)


# One of each: making one takes longer than a value.
_decoder = LosslessDecoder()
# Of numbers, only their length is asked for.
_decoder_of_lengths: Any = json.JSONDecoder(parse_float=str, parse_int=str)
_scan = _decoder_of_lengths.scan_once
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
