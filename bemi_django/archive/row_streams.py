"""Rows of the log as files that COPY writes and reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from bemi_django.archive.row_format import is_row, without_header
from bemi_django.ingest.rows import copy_format

#: The id and the moment (microseconds since 2000-01-01 UTC) of a change: they sort as the files do.
RowPlace = tuple[UUID, int]
FIRST: RowPlace = (UUID(int=0), -(2**52))


class ReadRows:
    """A file that takes the rows of a COPY, each of which is one message of the server."""

    def __init__(self, columns: tuple[str, ...], receive: Callable[[bytes], object]) -> None:
        self._id, self._moment = columns.index("id"), columns.index("committed_at")
        self._receive = receive
        self._is_begun = False
        self._row = b""
        self.count = 0

    def write(self, message: bytes) -> int:
        """Take a message, as COPY sends it."""
        row = message
        if not self._is_begun:
            row = without_header(row)
            self._is_begun = True
        if row and is_row(row):
            self._receive(row)
            self._row = row
            self.count += 1
        return len(message)

    @property
    def last(self) -> RowPlace:
        """The place of the last row."""
        if not self.count:
            return FIRST
        return UUID(bytes=_field(self._row, self._id)), int.from_bytes(
            _field(self._row, self._moment), "big", signed=True
        )


class WrittenRows:
    """A file that COPY reads."""

    PIECE = 1 << 20

    def __init__(self, rows: Iterator[bytes]) -> None:
        self._rows = self._all(rows)
        self._left = bytearray()

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size`` of them."""
        while len(self._left) < size and (row := next(self._rows, None)) is not None:
            self._left += row
        piece = bytes(self._left[:size])
        del self._left[:size]
        return piece

    @staticmethod
    def _all(rows: Iterator[bytes]) -> Iterator[bytes]:
        yield copy_format.HEADER
        yield from rows
        yield copy_format.TRAILER


def _field(row: bytes, number: int) -> bytes:
    place = 2
    while True:
        length = int.from_bytes(row[place : place + 4], "big", signed=True)
        if number == 0:
            return row[place + 4 : place + 4 + length]
        place += 4 + max(length, 0)
        number -= 1
