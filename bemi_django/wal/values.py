"""A value as PostgreSQL prints it to JSON as ``to_jsonb`` renders it in a session with TimeZone = UTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

Encoder = Callable[[bytes], bytes]

_NEEDS_ESCAPE = re.compile(rb'["\\\x00-\x1f]').search
_ZONE = re.compile(rb"([+-]\d\d)(?=$| BC$)")


class Type(NamedTuple):
    """What the catalog says of a type; the sources are pg_type and pg_attribute.

    ``element`` is the type of an array's elements, ``fields`` are a composite's names and types.
    """

    name: str
    element: Type | None = None
    delimiter: bytes = b","
    fields: tuple[tuple[str, Type], ...] = ()


def text(value: bytes) -> bytes:
    """A JSON string."""
    if _NEEDS_ESCAPE(value) is None:
        return b'"' + value + b'"'
    return orjson.dumps(value.decode())


def boolean(value: bytes) -> bytes:
    return b"true" if value == b"t" else b"false"


def number(value: bytes) -> bytes:
    """A JSON number; NaN and the infinities, which JSON does not have, are strings."""
    return value if value[-1:].isdigit() else b'"' + value + b'"'


def raw(value: bytes) -> bytes:
    return value


def timestamp(value: bytes) -> bytes:
    return b'"' + value.replace(b" ", b"T", 1) + b'"' if value[:1].isdigit() else text(value)


def timestamptz(value: bytes) -> bytes:
    if not value[:1].isdigit():
        return text(value)
    return b'"' + _ZONE.sub(rb"\1:00", value.replace(b" ", b"T", 1)) + b'"'


_ENCODERS: dict[str, Encoder] = {
    "bool": boolean,
    **dict.fromkeys(("int2", "int4", "int8", "float4", "float8", "numeric"), number),
    **dict.fromkeys(("json", "jsonb"), raw),
    "timestamp": timestamp,
    "timestamptz": timestamptz,
}


def encoder(type_: Type) -> Encoder:
    """The encoder of a type: scalars by name, arrays and composites by their parts."""
    if type_.name in ("int2vector", "oidvector"):
        element = number if type_.name == "int2vector" else text
        return lambda value: b"[" + b",".join(map(element, value.split())) + b"]"
    if type_.element is not None:
        return _array(encoder(type_.element), type_.delimiter)
    if type_.fields:
        return _composite([(text(name.encode()), encoder(field)) for name, field in type_.fields])
    return _ENCODERS.get(type_.name, text)


def _array(element: Encoder, delimiter: bytes) -> Encoder:
    token = re.compile(rb'[{}]|"((?:[^"\\]|\\.)*)"|([^{}"' + re.escape(delimiter) + rb"]+)", re.DOTALL)

    def encode(value: bytes) -> bytes:
        # Bounds other than 1 come in front, [0:2]={...}, and have no place in JSON.
        if value[:1] == b"[":
            value = value[value.index(b"=") + 1 :]
        parts: list[bytes] = []
        for match in token.finditer(value):
            piece = match[0]
            if piece == b"{":
                parts.append(b"[")
            elif piece == b"}":
                if parts[-1] == b",":
                    parts.pop()
                parts += b"]", b","
            elif match[1] is not None:
                parts += element(_unescape(match[1])), b","
            else:
                parts += b"null" if piece == b"NULL" else element(piece), b","
        return b"".join(parts[:-1])

    return encode


def _unescape(value: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", value, flags=re.DOTALL) if b"\\" in value else value


_FIELD = re.compile(rb'((?:[^",()\\]|\\.|"(?:[^"\\]|\\.|"")*")*)[,)]', re.DOTALL)
_FIELD_PART = re.compile(rb'"((?:[^"\\]|\\.|"")*)"|([^"]+)', re.DOTALL)
_FIELD_ESCAPE = re.compile(rb'\\(.)|"(")', re.DOTALL)


def _composite(fields: Sequence[tuple[bytes, Encoder]]) -> Encoder:
    def encode(value: bytes) -> bytes:
        pairs = []
        for (name, field), match in zip(fields, _FIELD.finditer(value, 1), strict=False):
            printed = match[1]
            pairs.append(name + b":" + (field(_plain(printed)) if printed else b"null"))
        return b"{" + b",".join(pairs) + b"}"

    return encode


def _plain(printed: bytes) -> bytes:
    def part(match: re.Match[bytes]) -> bytes:
        quoted = match[1] if match[1] is not None else match[2]
        return _FIELD_ESCAPE.sub(lambda escape: escape[1] or escape[2], quoted)

    return _FIELD_PART.sub(part, printed)
