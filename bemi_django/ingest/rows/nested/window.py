"""Read a value of many megabytes that arrives in pieces, a small part of it at a time."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar

#: Bytes of a large value that are rendered at a time.
PIECE = 1 << 18
#: Called in between by the thread that has set it, which must not be silent for as long as a value takes.
meanwhile: ContextVar[Callable[[], object]] = ContextVar("bemi_meanwhile", default=lambda: None)


class Window:
    """The part of a value that is being read: ``text`` from ``at`` on.

    Args:
        pieces: The value.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.text, self.at = b"", 0

    def read(self, size: int) -> bool:
        """Read until so many bytes are there; return False if the value ends before."""
        while len(self.text) - self.at < size:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self.text, self.at = self.text[self.at :] + piece, 0
        return True

    def is_at_end(self) -> bool:
        """Return whether all of the value was read."""
        return not self.read(1)

    def starts_with(self, byte: bytes) -> bool:
        """Return whether this byte is next."""
        return self.read(1) and self.text[self.at : self.at + 1] == byte

    def expect(self, byte: bytes) -> None:
        """Pass over one byte.

        Raises:
            ValueError: Another one is next.
        """
        if not self.starts_with(byte):
            raise ValueError("a value that is not printed as one of its type")
        self.at += 1

    def match(self, token: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Pass over a token, and return it; None if it is a large one."""
        while True:
            match = token.match(self.text, self.at)
            # What ends where the window ends may go on.
            if match is not None and match.end() < len(self.text):
                break
            left = len(self.text) - self.at
            if left > PIECE:
                return None
            if not self.read(left + 1):
                break
        if match is not None:
            self.at = match.end()
        return match

    def rendered(
        self,
        run: re.Pattern[bytes],
        decode: Callable[[bytes], bytes],
        render: Callable[[Iterator[bytes]], Iterator[bytes]],
    ) -> Iterator[bytes]:
        """Yield what is rendered of a large part, which ends where ``run`` does.

        Args:
            run: Matches what can be decoded without the rest.
            decode: Decodes it.
            render: Renders what was decoded.
        """
        part = self._part(run, decode)
        yield from render(part)
        # A value that is not one of its type ends before its part does.
        if any(part):
            raise ValueError("a part that is not printed as one of its type")

    def _part(self, run: re.Pattern[bytes], decode: Callable[[bytes], bytes]) -> Iterator[bytes]:
        while True:
            match = run.match(self.text, self.at)
            if match is not None and match[0]:
                self.at = match.end()
                yield decode(match[0])
            # An escape has two bytes, and what ends the part stands before another one.
            if len(self.text) - self.at > 1 or not self.read(len(self.text) - self.at + 1):
                return


def pieces_of(value: bytes) -> Iterator[bytes]:
    """Yield a value, which may be a view, in pieces."""
    for at in range(0, len(value), PIECE):
        meanwhile.get()()
        yield bytes(value[at : at + PIECE])


def joined(pieces: Iterable[bytes]) -> bytes:
    """Return pieces as one value, which is held once."""
    value = io.BytesIO()
    value.writelines(pieces)
    return value.getvalue()
