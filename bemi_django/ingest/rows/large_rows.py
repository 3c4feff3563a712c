"""Render rows of many megabytes whenever they are asked for, so that memory holds the message alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bemi_django.ingest.protocol.messages import LargeRow
from bemi_django.ingest.rows.copy_format import ID_AT, jsonb, jsonb_head
from bemi_django.ingest.rows.jsonb_limits import require_jsonb
from bemi_django.ingest.rows.nested.window import PIECE, joined, pieces_of
from bemi_django.ingest.rows.row_layout import RowLayout, label
from bemi_django.ingest.rows.values import CastEncoder, Encoder, raw, rendering

#: Bytes of a row from which it is handed to COPY in pieces.
LARGE = 1 << 20


class _Streamed(NamedTuple):
    """A large value, and what renders it."""

    encode: Encoder
    value: bytes

    def pieces(self) -> Iterator[bytes]:
        """Yield the JSON of the value."""
        return rendered_pieces(*self)


class LargeObject:
    """A row as a JSON object that is rendered again and again.

    Only values whose types need the server, and small ones, are rendered at once and held.

    Args:
        row: The values.
        layout: How they are written.
        encoders: The encoder of each column.
        order: The columns that the object has, in its order.

    Raises:
        ValueError: A value is not one of its type.
        LookupError: A type no longer exists.
    """

    def __init__(
        self, row: LargeRow, layout: RowLayout, encoders: Sequence[Encoder | None], order: Sequence[int]
    ) -> None:
        self._parts: list[bytes | _Streamed] = []
        opening = b"{"
        for number in order:
            self._parts += opening + label(layout.names[number]), _part(encoders[number], row[number])
            opening = b", "
        self._parts.append(b"}" if order else b"{}")
        self._size = sum(map(len, self.pieces()))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return joined(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield the object, a part of it at a time."""
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from part.pieces()


class LargeCopyRow:
    """A row of COPY that is rendered again and again.

    Args:
        head: The fields in front of the old row, in binary format.
        rows: The old row and the new one, as fields or as objects.
        tail: The fields behind.
    """

    def __init__(self, head: bytes, rows: Iterable[bytes | LargeObject], tail: bytes) -> None:
        self.head, self._tail = head, tail
        self._parts: list[bytes | LargeObject] = [head]
        for row in rows:
            if isinstance(row, LargeObject):
                self._parts.append(jsonb_head(len(row)))
            self._parts.append(row)
        self._parts.append(tail)
        self._size = sum(map(len, self._parts))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return joined(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield the row, a part of it at a time."""
        for part in self._parts:
            if isinstance(part, LargeObject):
                yield from part.pieces()
            else:
                yield part

    def brief(self) -> bytes:
        """Return the row with empty objects."""
        return b"".join((self.head, jsonb(b"{}"), jsonb(b"{}"), self._tail))

    def digest(self, before: bytes, after: bytes) -> bytes:
        """Return the SHA-256 of the row between two other parts."""
        found = hashlib.sha256(before)
        for piece in self.pieces():
            found.update(piece)
        found.update(after)
        return found.digest()


def id_of(row: bytes) -> bytes:
    """Return the id of the change in a row of COPY, or in what stands for a large one."""
    return (row.head if isinstance(row, LargeCopyRow) else row)[ID_AT]


def pieces_of_row(row: bytes) -> Iterator[bytes]:
    """Yield a row of COPY, or what stands for a large one, a part of it at a time."""
    return row.pieces() if isinstance(row, LargeCopyRow) else iter((row,))


def rendered_pieces(encode: Encoder, value: bytes) -> Iterator[bytes]:
    """Yield the JSON of a value, which may be a view, a part of it at a time.

    Raises:
        ValueError: It is not one of its type.
        LookupError: The type no longer exists.
    """
    if encode is require_jsonb:
        # Unlike other encoders, it takes a view.
        require_jsonb(value)
        encode = raw
    elif isinstance(encode, CastEncoder):
        return iter((encode(value),))
    return rendering(encode).stream(pieces_of(value))


def _part(encode: Encoder | None, value: bytes | None) -> bytes | _Streamed:
    if value is None or encode is None:
        return b"null"
    if isinstance(encode, CastEncoder):
        return encode(value)
    if len(value) <= PIECE:
        return encode(bytes(value))
    return _Streamed(encode, value) if rendering(encode).is_pure else joined(rendered_pieces(encode, value))
