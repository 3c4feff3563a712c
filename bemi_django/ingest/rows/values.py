"""Convert values as PostgreSQL prints them to the JSON of ``to_jsonb`` in a session with TimeZone = UTC."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import orjson

from bemi_django.ingest.rows.jsonb_limits import require_jsonb
from bemi_django.ingest.rows.nested import hstore_values
from bemi_django.ingest.rows.nested.hstore_values import HstoreEncoder
from bemi_django.ingest.rows.nested.nested_values import ArrayEncoder, CompositeEncoder, Rendering
from bemi_django.ingest.rows.nested.window import joined

Encoder = Callable[[bytes], bytes]

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
#: Fields of composite types in the columns of a table, each counted at every depth at which it stands.
_MAX_PARTS = 100_000
#: The types that PostgreSQL ships with have smaller oids.
_FIRST_USER_OID = 16384


def text(value: bytes) -> bytes:
    """Return a JSON string."""
    return orjson.dumps(value.decode())


def stream_text(value: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a JSON string."""
    # A piece may end within a character.
    decoder = codecs.getincrementaldecoder("utf-8")()
    yield b'"'
    for piece in value:
        yield orjson.dumps(decoder.decode(piece))[1:-1]
    decoder.decode(b"", final=True)
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
_PURE = frozenset((*_ENCODERS.values(), text))
_VECTORS = {22: number, 30: text}  # int2vector, oidvector: printed as 1 2 3


def encoder(oid: int, types: Mapping[int, Type], cast: Cast) -> Encoder:
    """Return the encoder of a type.

    Args:
        oid: The type.
        types: The types that have parts, by oid.
        cast: Renders the values of types that have a cast to json.
    """
    return Encoders(types, cast).of(oid)


class Encoders:
    """Makes the encoders of the columns of a table.

    Each is made once: a type may have another one in it many times, which has a third one many times.

    Args:
        types: The types that have parts, by oid.
        cast: Renders the values of types that have a cast to json.
        is_omitted: Tells by their names which fields of composite types are left out.
    """

    def __init__(
        self, types: Mapping[int, Type], cast: Cast, is_omitted: Callable[[str], bool] = lambda name: False
    ) -> None:
        self._types = types
        self._cast = cast
        self._is_omitted = is_omitted
        self._made: dict[tuple[int, int], Encoder] = {}
        self._parts = 0

    def of(self, oid: int, depth: int = 0) -> Encoder:
        """Return the encoder of a type that is a part of so many others."""
        found = self._made.get((oid, depth))
        if found is None:
            if depth > _MAX_DEPTH or self._parts > _MAX_PARTS:
                return _too_deep
            found = self._made[oid, depth] = self._make(oid, depth)
        return found

    def _make(self, oid: int, depth: int) -> Encoder:
        type_ = self._types.get(oid)
        while isinstance(type_, Domain):
            oid = type_.base
            type_ = self._types.get(oid)
        # The server lists a vector as an array, and prints it in another way.
        if isinstance(type_, Array) and oid not in _VECTORS:
            element = self.of(type_.element, depth + 1)
            return ArrayEncoder(rendering(element), type_.delimiter.encode())
        if isinstance(type_, Composite):
            self._parts += len(type_.fields)
            fields = [
                None
                if self._is_omitted(name)
                else (text(name.encode()), rendering(self.of(field, depth + 1)))
                for name, field in type_.fields
            ]
            return CompositeEncoder(fields)
        return self._scalar(oid, type_)

    def _scalar(self, oid: int, type_: Type | None) -> Encoder:
        if oid in _VECTORS:
            element = _VECTORS[oid]
            return lambda value: b"[" + b",".join(map(element, value.split())) + b"]"
        if isinstance(type_, Castable):
            if type_.source == hstore_values.SOURCE:
                return HstoreEncoder(rendering(text))
            return CastEncoder(type_, self._cast)
        if type_ is None and oid >= _FIRST_USER_OID:
            return _unknown
        return _ENCODERS.get(oid, text)


class CastEncoder:
    """Renders values of a type with a cast to json. It takes views, too."""

    def __init__(self, type_: Castable, cast: Cast) -> None:
        self._type = type_
        self._cast = cast

    def __call__(self, value: bytes) -> bytes:
        """Return a value as JSON."""
        return self._cast(self._type, value)


def rendering(encode: Encoder) -> Rendering:
    """Return how the values of an encoder are rendered, in pieces as well."""
    if encode is text:
        return Rendering(text, stream_text, is_pure=True)
    if encode is raw:
        return Rendering(raw, iter, is_pure=True)
    if isinstance(encode, (ArrayEncoder, CompositeEncoder, HstoreEncoder)):
        return Rendering(encode, encode.stream, encode.is_pure)

    def stream(value: Iterator[bytes]) -> Iterator[bytes]:
        yield encode(joined(value))

    return Rendering(encode, stream, encode in _PURE)


def _unknown(value: bytes) -> bytes:
    raise LookupError("the type no longer exists")


def _too_deep(value: bytes) -> bytes:
    raise LookupError("the type is nested too deeply")
