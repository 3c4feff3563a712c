"""Convert arrays and composite values as PostgreSQL prints them to JSON, in pieces if they are large.

A large value is read through a window and never held: neither what it is nested in, nor what is nested in it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bemi_django.ingest.rows.nested.window import PIECE, Window
from bemi_django.patterns import possessive

#: More bytes than the bounds of an array have.
_BOUNDS = 200
#: No text in UTF-8 has this byte.
_NO_UTF8 = b"\xff"

# Loops over single characters would take memory for each of them, alternatives that begin alike would take
# exponential time. So in a field a doubled quote is the end of one quoted part and the beginning of another.
# One that is not ended goes on to the end, where no field ends.
_QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_FIELD = possessive.compiled(rb'([^",()\\]*+(?:(?:\\.|' + _QUOTED + rb')[^",()\\]*+)*+)[,)]', re.DOTALL)
_FIELD_PART = possessive.compiled(rb'"([^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+)"|([^"]+)', re.DOTALL)
#: What a field in quotes has in place of a character of its own.
_FIELD_ESCAPE = re.compile(rb'\\(.)|"(")', re.DOTALL)
#: What of a quoted element can be read without the rest.
IN_QUOTES = possessive.compiled(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
# The same of a field.
_IN_FIELD = possessive.compiled(rb'[^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+', re.DOTALL)
_IN_PLAIN_FIELD = re.compile(rb'[^",()\\]*')


class Rendering(NamedTuple):
    """How the values of a type are rendered.

    Attributes:
        whole: Returns the JSON of a value.
        stream: Yields the JSON of a value that arrives in pieces.
        is_pure: Whether both depend on nothing else, and may be called again in another thread.
    """

    whole: Callable[[bytes], bytes]
    stream: Callable[[Iterator[bytes]], Iterator[bytes]]
    is_pure: bool


class ArrayEncoder:
    """Renders arrays of one type.

    Args:
        element: Renders an element.
        delimiter: What separates the elements.
    """

    def __init__(self, element: Rendering, delimiter: bytes) -> None:
        self._element = element
        self.is_pure = element.is_pure
        delimiter = re.escape(delimiter)
        plain = rb'[^{}"' + delimiter + rb"]"
        self._token = possessive.compiled(
            delimiter + rb'?(?:([{}])|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|(' + plain + rb"+))", re.DOTALL
        )
        self._in_plain = re.compile(plain + rb"*")
        self._delimiter = re.compile(delimiter + rb"?")

    def __call__(self, value: bytes) -> bytes:
        """Return a value as JSON."""
        # Bounds other than 1 are printed in front, [0:2]={...}; JSON has no place for them.
        begin = value.index(b"=") + 1 if value[:1] == b"[" else 0
        array, separator = io.BytesIO(), b""
        for match in self._token.finditer(value, begin):
            separator = self._write(array, match, separator)
        return array.getvalue()

    def stream(self, value: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the JSON of a value that arrives in pieces.

        Raises:
            ValueError: The value is no array.
        """
        window = Window(value)
        if window.starts_with(b"["):
            window.read(_BOUNDS)
            window.at = window.text.index(b"=") + 1
        array, separator = io.BytesIO(), b""
        while not window.is_at_end():
            if (match := window.match(self._token)) is not None:
                separator = self._write(array, match, separator)
            else:
                array.write(separator)
                yield _taken(array)
                yield from self._large(window)
                separator = b","
            if array.tell() > PIECE:
                yield _taken(array)
        yield array.getvalue()

    def _large(self, window: Window) -> Iterator[bytes]:
        window.match(self._delimiter)
        if window.starts_with(b'"'):
            window.at += 1
            yield from window.rendered(IN_QUOTES, unescape, self._element.stream)
            window.expect(b'"')
        else:
            yield from window.rendered(self._in_plain, bytes, self._element.stream)

    def _write(self, array: io.BytesIO, match: re.Match[bytes], separator: bytes) -> bytes:
        """Write what a token says, and return what separates it from the next one."""
        bracket, quoted, plain = match.groups()
        if bracket == b"}":
            array.write(b"]")
            return b","
        array.write(separator)
        if bracket is not None:
            array.write(b"[")
            return b""
        if quoted is not None:
            array.write(self._element.whole(unescape(quoted)))
        else:
            array.write(b"null" if plain == b"NULL" else self._element.whole(plain))
        return b","


class CompositeEncoder:
    """Renders values of one row type.

    Args:
        fields: The names of its fields, as JSON, and how their values are rendered; None for one that is
            left out.
    """

    def __init__(self, fields: Sequence[tuple[bytes, Rendering] | None]) -> None:
        self._fields = fields
        self.is_pure = all(field[1].is_pure for field in fields if field is not None)

    def __call__(self, value: bytes) -> bytes:
        """Return a value as JSON."""
        if value == b"()" and not self._fields:
            return b"{}"
        # A type that was altered since it was described has another number of fields.
        return b"{%b}" % b",".join(
            field[0] + b":" + (field[1].whole(_plain(match[1])) if match[1] else b"null")
            for field, match in zip(self._fields, _FIELD.finditer(value, 1), strict=True)
            if field is not None
        )

    def stream(self, value: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the JSON of a value that arrives in pieces.

        Raises:
            ValueError: The value has another number of fields.
        """
        window = Window(value)
        window.expect(b"(")
        opening, end = b"{", len(self._fields)
        for number, each in enumerate(self._fields, 1):
            name, field = each or (b"", _OMITTED)
            if each is not None:
                yield opening + name + b":"
                opening = b","
            if (match := window.match(_FIELD)) is not None:
                yield b"" if each is None else field.whole(_plain(match[1])) if match[1] else b"null"
                window.at -= 1
            elif window.starts_with(b'"'):
                window.at += 1
                yield from window.rendered(_IN_FIELD, _unquote, field.stream)
                window.expect(b'"')
            else:
                yield from window.rendered(_IN_PLAIN_FIELD, bytes, field.stream)
            window.expect(b")" if number == end else b",")
        yield b"{}" if opening == b"{" else b"}"


def _passed_over(value: Iterator[bytes]) -> Iterator[bytes]:
    for _ in value:
        yield b""


_OMITTED = Rendering(lambda value: b"", _passed_over, is_pure=True)


def _taken(written: io.BytesIO) -> bytes:
    """Return what was written, and begin anew."""
    found = written.getvalue()
    written.seek(0)
    written.truncate()
    return found


def unescape(value: bytes) -> bytes:
    """Return a text in which a backslash stands before quotes and backslashes, without these."""
    if b"\\" not in value:
        return value
    if _NO_UTF8 in value:
        return re.sub(rb"\\(.)", rb"\1", value, flags=re.DOTALL)
    # A substitution would take memory for each escape.
    return value.replace(b"\\\\", _NO_UTF8).replace(b"\\", b"").replace(_NO_UTF8, b"\\")


def _plain(printed: bytes) -> bytes:
    return _FIELD_PART.sub(lambda part: _unquote(part[2] if part[1] is None else part[1]), printed)


def _unquote(quoted: bytes) -> bytes:
    marked = quoted.replace(b"\\\\", _NO_UTF8)
    if _NO_UTF8 in quoted or b"\\" in marked:
        return _FIELD_ESCAPE.sub(lambda escape: escape[1] or escape[2], quoted)
    return marked.replace(b'""', b'"').replace(_NO_UTF8, b"\\")
