"""Convert values of the extension hstore to JSON, as its own cast does, in pieces if they are large."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from bemi_django.ingest.rows.nested.nested_values import IN_QUOTES, Rendering, unescape
from bemi_django.ingest.rows.nested.window import Window
from bemi_django.patterns import possessive

#: The fingerprint of hstore_to_json(), which is a function of a library.
SOURCE = hashlib.md5(b"hstore_to_json$libdir/hstore", usedforsecurity=False).hexdigest()

_QUOTED = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_PAIR = possessive.compiled(rb"(?:, )?" + _QUOTED + rb"=>(?:NULL|" + _QUOTED + rb")", re.DOTALL)


class HstoreEncoder:
    """Renders values of hstore.

    Args:
        text: Renders keys and values.
    """

    is_pure = True

    def __init__(self, text: Rendering) -> None:
        self._text = text

    def __call__(self, value: bytes) -> bytes:
        """Return a value as JSON."""
        return b"{%b}" % b", ".join(map(self._pair, _PAIR.finditer(value)))

    def stream(self, value: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the JSON of a value that arrives in pieces.

        Raises:
            ValueError: It is no value of hstore.
        """
        window, opening = Window(value), b"{"
        while not window.is_at_end():
            yield opening
            if (match := window.match(_PAIR)) is not None:
                yield self._pair(match)
            else:
                yield from self._large(window)
            opening = b", "
        yield b"}" if opening == b", " else b"{}"

    def _large(self, window: Window) -> Iterator[bytes]:
        if window.starts_with(b","):
            for byte in (b",", b" "):
                window.expect(byte)
        yield from self._quoted(window)
        for byte in (b"=", b">"):
            window.expect(byte)
        yield b": "
        if window.starts_with(b'"'):
            yield from self._quoted(window)
        else:
            for byte in (b"N", b"U", b"L", b"L"):
                window.expect(byte)
            yield b"null"

    def _quoted(self, window: Window) -> Iterator[bytes]:
        window.expect(b'"')
        yield from window.rendered(IN_QUOTES, unescape, self._text.stream)
        window.expect(b'"')

    def _pair(self, match: re.Match[bytes]) -> bytes:
        key, value = match.groups()
        rendered = b"null" if value is None else self._text.whole(unescape(value))
        return self._text.whole(unescape(key)) + b": " + rendered
