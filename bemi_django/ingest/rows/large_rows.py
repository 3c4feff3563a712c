"""Render rows of many megabytes straight into the row of COPY, so that memory holds them once more."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bemi_django.ingest.protocol.messages import LargeRow
from bemi_django.ingest.rows.copy_format import jsonb_head
from bemi_django.ingest.rows.jsonb_limits import require_jsonb
from bemi_django.ingest.rows.row_layout import RowLayout, label
from bemi_django.ingest.rows.values import Encoder, in_pieces, raw

#: Encoders that take a view of a value as well.
_OF_VIEWS = (raw, require_jsonb)


class LargeObject(NamedTuple):
    """A row as a JSON object that is rendered whenever it is asked for.

    Attributes:
        row: The values.
        layout: How they are written.
        encoders: The encoder of each column.
        order: The columns that the object has, in its order.
    """

    row: LargeRow
    layout: RowLayout
    encoders: Sequence[Encoder | None]
    order: Sequence[int]

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield the object, a part of it at a time.

        Raises:
            ValueError: A value is not one of its type.
            LookupError: A type no longer exists.
        """
        opening = b"{"
        for number in self.order:
            yield opening + label(self.layout.names[number])
            yield from _pieces(self.encoders[number], self.row[number])
            opening = b", "
        yield b"}" if self.order else b"{}"


def _pieces(encode: Encoder | None, value: bytes | None) -> Iterator[bytes]:
    if value is None or encode is None:
        yield b"null"
    elif encode in _OF_VIEWS:
        yield encode(value)
    else:
        yield from in_pieces(encode)(value)


def large_row(fields: Iterable[bytes | LargeObject]) -> bytes:
    """Return a row of COPY.

    Args:
        fields: Its fields in binary format, but for the objects, which become fields.

    Raises:
        ValueError: A value is not one of its type.
        LookupError: A type no longer exists.
    """
    row = io.BytesIO()
    for field in fields:
        if isinstance(field, LargeObject):
            _write_object(row, field)
        else:
            row.write(field)
    return row.getvalue()


def _write_object(row: io.BytesIO, value: LargeObject) -> None:
    begin = row.tell()
    row.write(jsonb_head(0))
    size = sum(map(row.write, value.pieces()))
    # Only now is it known how long the field is.
    row.seek(begin)
    row.write(jsonb_head(size))
    row.seek(0, io.SEEK_END)
