"""Convert values as PostgreSQL prints them to the JSON of ``to_jsonb`` in a session with TimeZone = UTC."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson

from bemi_django.ingest.rows.jsonb_limits import require_jsonb
from bemi_django.patterns import possessive

Encoder = Callable[[bytes], bytes]

#: Bytes of a large text that are rendered at a time.
_PIECE = 1 << 20
#: The bits of a byte in UTF-8 by which it continues a character.
_CONTINUATION, _CONTINUES = 0xC0, 0x80
#: No text in UTF-8 has this byte.
_NO_UTF8 = b"\xff"

_ZONE = re.compile(rb"([+-]\d\d)(?=$| BC$)")


class Domain(NamedTuple):
    """A domain over the type ``base``."""

    base: int


class Array(NamedTuple):
    """An array of the type ``element``, whose values are separated by ``delimiter``."""

    element: int
    delimiter: str


class Composite(NamedTuple):
    """A row type: names and types of its fields."""

    fields: tuple[tuple[str, int], ...]


class Castable(NamedTuple):
    """A type of an extension or of a user, with the function that casts it to json.

    ``source`` is a fingerprint of the function's body: one that was replaced keeps its oid.
    """

    oid: int
    function: int
    source: str = ""


class Plain(NamedTuple):
    """Any other type of an extension or of a user."""


Type = Domain | Array | Composite | Castable | Plain
#: Renders a value with the type's own cast to json, which only the server can do.
Cast = Callable[[Castable, bytes], bytes]
#: The depth to which composite types and arrays may be nested.
_MAX_DEPTH = 100
#: The types that PostgreSQL ships with have smaller oids.
_FIRST_USER_OID = 16384


def text(value: bytes) -> bytes:
    """Return a JSON string."""
    return orjson.dumps(value.decode())


def pieces_of_text(value: bytes) -> Iterator[bytes]:
    """Yield the pieces of a JSON string, so that no other copy of a large one is made."""
    yield b'"'
    at = 0
    while at < len(value):
        end = at + _PIECE
        while end < len(value) and value[end] & _CONTINUATION == _CONTINUES:
            end += 1
        yield text(bytes(value[at:end]))[1:-1]
        at = end
    yield b'"'


def boolean(value: bytes) -> bytes:
    """Return a JSON boolean."""
    return b"true" if value == b"t" else b"false"


def number(value: bytes) -> bytes:
    """Return a JSON number, or a string for NaN and the infinities, which JSON does not have."""
    return value if value[-1:].isdigit() else b'"' + value + b'"'


def fraction(value: bytes) -> bytes:
    """Return a JSON number of a type with a binary exponent; see :func:`number`."""
    return number(value)


def raw(value: bytes) -> bytes:
    """Return a value that is JSON already."""
    return value


def timestamp(value: bytes) -> bytes:
    """Return a timestamp without time zone as a JSON string in ISO 8601."""
    return b'"' + value.replace(b" ", b"T", 1) + b'"' if value[:1].isdigit() else text(value)


def timestamptz(value: bytes) -> bytes:
    """Return a timestamp with time zone as a JSON string in ISO 8601."""
    if value[-3:] == b"+00":
        # A session in UTC prints almost all of them so.
        return b'"%b+00:00"' % value[:-3].replace(b" ", b"T", 1)
    if not value[:1].isdigit():
        return text(value)
    return b'"' + _ZONE.sub(rb"\1:00", value.replace(b" ", b"T", 1)) + b'"'


#: By the type's oid, which is fixed for built-in types (pg_type.dat). All others are strings.
_ENCODERS: dict[int, Encoder] = {
    16: boolean,
    **dict.fromkeys((20, 21, 23, 1700), number),  # int8, int2, int4, numeric
    **dict.fromkeys((700, 701), fraction),  # float4, float8
    114: require_jsonb,  # json
    3802: raw,  # jsonb
    1114: timestamp,
    1184: timestamptz,
}
_VECTORS = {22: number, 30: text}  # int2vector, oidvector: printed as 1 2 3


def encoder(oid: int, types: Mapping[int, Type], cast: Cast, depth: int = 0) -> Encoder:
    """Return the encoder of a type.

    Args:
        oid: The type.
        types: The types that have parts, by oid.
        cast: Renders the values of types that have a cast to json.
        depth: The number of types that the type is a part of.
    """
    if depth > _MAX_DEPTH:
        return _too_deep
    type_ = types.get(oid)
    while isinstance(type_, Domain):
        oid = type_.base
        type_ = types.get(oid)
    if oid in _VECTORS:
        element = _VECTORS[oid]
        return lambda value: b"[" + b",".join(map(element, value.split())) + b"]"
    if isinstance(type_, Array):
        return _array(encoder(type_.element, types, cast, depth + 1), type_.delimiter.encode())
    if isinstance(type_, Composite):
        fields = [
            (text(name.encode()), encoder(field, types, cast, depth + 1)) for name, field in type_.fields
        ]
        return _composite(fields)
    if isinstance(type_, Castable):
        castable = type_
        return lambda value: cast(castable, value)
    if type_ is None and oid >= _FIRST_USER_OID:
        return _unknown
    return _ENCODERS.get(oid, text)


def _unknown(value: bytes) -> bytes:
    raise LookupError("the type no longer exists")


def _too_deep(value: bytes) -> bytes:
    raise LookupError("the type is nested too deeply")


def _array(element: Encoder, delimiter: bytes) -> Encoder:
    token = possessive.compiled(
        rb'[{}]|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^{}"' + re.escape(delimiter) + rb"]+)", re.DOTALL
    )

    def encode(value: bytes) -> bytes:
        # Bounds other than 1 are printed in front, [0:2]={...}; JSON has no place for them.
        begin = value.index(b"=") + 1 if value[:1] == b"[" else 0
        array = io.BytesIO()
        write, separator = array.write, b""
        for match in token.finditer(value, begin):
            piece = match[0]
            if piece == b"{":
                write(separator + b"[")
                separator = b""
                continue
            if piece == b"}":
                write(b"]")
            else:
                write(separator)
                if match[1] is not None:
                    write(element(_unescape(match[1])))
                else:
                    write(b"null" if piece == b"NULL" else element(piece))
            separator = b","
        return array.getvalue()

    return encode


def _unescape(value: bytes) -> bytes:
    if b"\\" not in value:
        return value
    if _NO_UTF8 in value:
        return re.sub(rb"\\(.)", rb"\1", value, flags=re.DOTALL)
    # A substitution would take memory for each escape.
    return value.replace(b"\\\\", _NO_UTF8).replace(b"\\", b"").replace(_NO_UTF8, b"\\")


# Loops over single characters would take memory for each of them, alternatives that begin alike would take
# exponential time. So in a field a doubled quote is the end of one quoted part and the beginning of another.
_QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FIELD = possessive.compiled(rb'([^",()\\]*+(?:(?:\\.|' + _QUOTED + rb')[^",()\\]*+)*+)[,)]', re.DOTALL)
_FIELD_PART = possessive.compiled(rb'"([^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+)"|([^"]+)', re.DOTALL)
_FIELD_ESCAPE = re.compile(rb'\\(.)|"(")', re.DOTALL)


def _composite(fields: Sequence[tuple[bytes, Encoder]]) -> Encoder:
    def encode(value: bytes) -> bytes:
        if value == b"()" and not fields:
            return b"{}"
        pairs = [
            name + b":" + (field(_plain(printed)) if printed else b"null")
            # A type that was altered since it was described has another number of fields.
            for (name, field), printed in zip(fields, _FIELD.findall(value, 1), strict=True)
        ]
        return b"{" + b",".join(pairs) + b"}"

    return encode


def _plain(printed: bytes) -> bytes:
    def part(match: re.Match[bytes]) -> bytes:
        quoted = match[1] if match[1] is not None else match[2]
        marked = quoted.replace(b"\\\\", _NO_UTF8)
        if _NO_UTF8 in quoted or b"\\" in marked:
            return _FIELD_ESCAPE.sub(lambda escape: escape[1] or escape[2], quoted)
        return marked.replace(b'""', b'"').replace(_NO_UTF8, b"\\")

    return _FIELD_PART.sub(part, printed)
