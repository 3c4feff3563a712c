"""How the rows of a table are written, for a stretch of the WAL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from bemi_django.ingest.protocol.messages import Row
from bemi_django.ingest.rows.copy_format import NULL, field
from bemi_django.ingest.rows.row_codegen import RowReader, make_reader
from bemi_django.ingest.rows.values import Encoder, text


class Computed(NamedTuple):
    """The last columns, which the stream leaves out; ``compute`` makes their values from the others."""

    width: int
    compute: Callable[[Row], Row]


class RowLayout(NamedTuple):
    """How the rows of one relation are written: columns in their order, key columns by number.

    ``template`` is what :func:`template` makes of the names, ``partition`` a field, ``reader`` a function for
    all of that, None where each row needs care. It holds for rows from the LSN ``since`` to ``until``.
    """

    head: bytes
    names: tuple[str, ...]
    template: bytes
    encoders: tuple[Encoder, ...]
    key: tuple[int, ...]
    partition: bytes = NULL
    computed: Computed | None = None
    since: int = 0
    until: int = 1 << 64
    reader: RowReader | None = None


def with_reader(layout: RowLayout) -> RowLayout:
    """The layout with the function for its rows."""
    if layout.computed is not None or len(layout.key) > 1:
        return layout
    key = layout.key[0] if layout.key else None
    return layout._replace(reader=make_reader(layout.template, layout.encoders, key))


def head(database: str, schema: str, table: str) -> bytes:
    """The fields that all rows of a table share."""
    return b"".join(field(name.encode()) for name in (database, schema, table))


def template(columns: Iterable[str]) -> bytes:
    """A JSON object with a place for the value of each column, for the operator ``%``."""
    return b"{" + b",".join(label(column).replace(b"%", b"%%") + b"%b" for column in columns) + b"}"


def label(column: str) -> bytes:
    """A column's name as a JSON object has it, in front of its value."""
    return text(column.encode()) + b": "
