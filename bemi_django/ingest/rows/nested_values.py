"""Convert arrays and composite values as PostgreSQL prints them to JSON, in pieces if they are large."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence

from bemi_django.patterns import possessive

#: Yields the JSON of a value, which may be a view.
PieceEncoder = Callable[[bytes], Iterator[bytes]]

#: Bytes of a large value that are rendered at a time.
PIECE = 1 << 20
#: More bytes than the bounds of an array have.
_BOUNDS = 200
#: No text in UTF-8 has this byte.
_NO_UTF8 = b"\xff"

# Loops over single characters would take memory for each of them, alternatives that begin alike would take
# exponential time. So in a field a doubled quote is the end of one quoted part and the beginning of another.
_QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FIELD = possessive.compiled(rb'([^",()\\]*+(?:(?:\\.|' + _QUOTED + rb')[^",()\\]*+)*+)[,)]', re.DOTALL)
_FIELD_PART = possessive.compiled(rb'"([^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+)"|([^"]+)', re.DOTALL)
#: What a quote, or a field in quotes, has in place of a character of its own.
_ESCAPE = re.compile(rb'["\\]')
_FIELD_ESCAPE = re.compile(rb'\\(.)|"(")', re.DOTALL)


class ArrayEncoder:
    """Renders arrays of one type.

    Args:
        element: Renders an element.
        large_element: The same, in pieces.
        delimiter: What separates the elements.
    """

    def __init__(
        self, element: Callable[[bytes], bytes], large_element: PieceEncoder, delimiter: bytes
    ) -> None:
        self._element, self._large_element = element, large_element
        self._token = possessive.compiled(
            rb'[{}]|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^{}"' + re.escape(delimiter) + rb"]+)", re.DOTALL
        )

    def __call__(self, value: bytes) -> bytes:
        """Return a value as JSON."""
        return b"".join(self.pieces(value))

    def pieces(self, value: bytes) -> Iterator[bytes]:
        """Yield the array, a part of it at a time."""
        # Bounds other than 1 are printed in front, [0:2]={...}; JSON has no place for them.
        begin = bytes(value[:_BOUNDS]).index(b"=") + 1 if value[:1] == b"[" else 0
        is_large, element = len(value) > PIECE, self._element
        array = io.BytesIO()
        write, separator = array.write, b""
        for match in self._token.finditer(value, begin):
            if is_large and match.end() - match.start() > PIECE:
                write(separator)
                yield _taken(array)
                yield from self._large_element(_element(value, match))
                separator = b","
                continue
            piece = match[0]
            if piece == b"{":
                write(separator + b"[")
                separator = b""
                continue
            if piece == b"}":
                write(b"]")
            else:
                write(separator)
                if (quoted := match[1]) is not None:
                    write(element(_unescape(quoted)))
                else:
                    write(b"null" if piece == b"NULL" else element(piece))
            separator = b","
            if is_large and array.tell() > PIECE:
                yield _taken(array)
        yield array.getvalue()


class CompositeEncoder:
    """Renders values of one row type.

    Args:
        fields: The names of its fields, as JSON, and what renders their values.
    """

    def __init__(self, fields: Sequence[tuple[bytes, PieceEncoder]]) -> None:
        self._fields = fields

    def __call__(self, value: bytes) -> bytes:
        """Return a value as JSON."""
        return b"".join(self.pieces(value))

    def pieces(self, value: bytes) -> Iterator[bytes]:
        """Yield the object, a part of it at a time."""
        if value == b"()" and not self._fields:
            yield b"{}"
            return
        opening = b"{"
        # A type that was altered since it was described has another number of fields.
        for (name, field), match in zip(self._fields, _FIELD.finditer(value, 1), strict=True):
            yield opening + name + b":"
            if match.end(1) > match.start(1):
                yield from field(_field(value, match))
            else:
                yield b"null"
            opening = b","
        yield b"}"


def _taken(written: io.BytesIO) -> bytes:
    """Return what was written, and begin anew."""
    found = written.getvalue()
    written.seek(0)
    written.truncate()
    return found


def _element(value: bytes, match: re.Match[bytes]) -> bytes:
    """Return a large element of an array, as a view of the array if it has nothing escaped."""
    begin, end = match.span(1)
    if begin < 0:
        return value[match.start() : match.end()]
    return value[begin:end] if _ESCAPE.search(value, begin, end) is None else _unescape(match[1])


def _field(value: bytes, match: re.Match[bytes]) -> bytes:
    """Return a field that is not NULL, as a view if it is large and has nothing escaped."""
    begin, end = match.span(1)
    if end - begin <= PIECE:
        return _plain(match[1])
    if value[begin : begin + 1] == b'"':
        begin, end = begin + 1, end - 1
    return value[begin:end] if _ESCAPE.search(value, begin, end) is None else _plain(match[1])


def _unescape(value: bytes) -> bytes:
    if b"\\" not in value:
        return value
    if _NO_UTF8 in value:
        return re.sub(rb"\\(.)", rb"\1", value, flags=re.DOTALL)
    # A substitution would take memory for each escape.
    return value.replace(b"\\\\", _NO_UTF8).replace(b"\\", b"").replace(_NO_UTF8, b"\\")


def _plain(printed: bytes) -> bytes:
    def part(match: re.Match[bytes]) -> bytes:
        quoted = match[1] if match[1] is not None else match[2]
        marked = quoted.replace(b"\\\\", _NO_UTF8)
        if _NO_UTF8 in quoted or b"\\" in marked:
            return _FIELD_ESCAPE.sub(lambda escape: escape[1] or escape[2], quoted)
        return marked.replace(b'""', b'"').replace(_NO_UTF8, b"\\")

    return _FIELD_PART.sub(part, printed)
