"""Rows of the log in the binary format of COPY (PostgreSQL docs, COPY, File Formats), and their values.

Two rows are equal exactly if their bytes are. Therefore the digest of rows is that of their bytes, whether
they come from the server or from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from struct import Struct, unpack_from
from typing import Any
from uuid import UUID

import pyarrow

from bemi_django.ingest.rows import copy_format

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]

_COUNT = Struct(">h")
_LENGTH = Struct(">i")
_INT64 = Struct(">q")
#: Microseconds from 1970, where Parquet begins to count, to 2000, where PostgreSQL does.
_EPOCH = (datetime(2000, 1, 1, tzinfo=timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)).days
_SHIFT = _EPOCH * 86_400_000_000
#: Both count infinity as these numbers.
_INFINITE = frozenset((-(2**63), 2**63 - 1))


def values_of(row: bytes, decoders: list[Decode]) -> list[Any]:
    """Return the values of a row for Parquet.

    Args:
        row: A row as COPY sends it.
        decoders: What :func:`decoders_of` returns for its columns.
    """
    found: list[Any] = []
    place = _COUNT.size
    for decode in decoders:
        (length,) = _LENGTH.unpack_from(row, place)
        place += _LENGTH.size
        if length < 0:
            found.append(None)
            continue
        found.append(decode(row[place : place + length]))
        place += length
    return found


def rows_of(batch: Any, columns: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the rows of a batch of a Parquet file as COPY takes them.

    Args:
        batch: A batch with these columns.
        columns: The kinds of the columns by name.
    """
    for values in zip(*(_plain(batch.column(name)) for name in columns), strict=True):
        yield row_of(values, columns)


def row_of(values: Sequence[Any], columns: Mapping[str, str]) -> bytes:
    """Return the row that :func:`values_of` has read."""
    fields = (
        copy_format.NULL if value is None else _ENCODERS[kind](value)
        for kind, value in zip(columns.values(), values, strict=True)
    )
    return _COUNT.pack(len(columns)) + b"".join(fields)


def decoders_of(columns: Mapping[str, str]) -> list[Decode]:
    """Return the functions that read the values of columns."""
    return [_DECODERS[kind] for kind in columns.values()]


def is_row(message: bytes) -> bool:
    """Return whether this part of a COPY stream is a row, and not the end."""
    return message != copy_format.TRAILER


def without_header(message: bytes) -> bytes:
    """Return the first part of a COPY stream without the header."""
    (extension,) = unpack_from(">i", message, len(copy_format.HEADER) - 4)
    return message[len(copy_format.HEADER) + extension :]


def _plain(column: Any) -> list[Any]:
    # Text stays bytes, and a moment is its number: Python's datetime has fewer years.
    if pyarrow.types.is_string(column.type):
        column = column.cast(pyarrow.binary())
    elif pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.int64())
    found: list[Any] = column.to_pylist()
    return found


def _moment(value: bytes) -> int:
    (number,) = _INT64.unpack(value)
    return int(number) if number in _INFINITE else int(number) + _SHIFT


def _moment_field(value: int) -> bytes:
    return copy_format.int64(value if value in _INFINITE else value - _SHIFT)


_DECODERS: dict[str, Decode] = {
    "bigint": lambda value: _INT64.unpack(value)[0],
    "boolean": lambda value: value != b"\0",
    # The first byte is the version of the format.
    "jsonb": lambda value: value[1:],
    "text": lambda value: value,
    "timestamptz": _moment,
    "uuid": lambda value: str(UUID(bytes=value)).encode(),
}
_ENCODERS: dict[str, Encode] = {
    "bigint": copy_format.int64,
    "boolean": lambda value: copy_format.field(b"\1" if value else b"\0"),
    "jsonb": copy_format.jsonb,
    "text": copy_format.field,
    "timestamptz": _moment_field,
    "uuid": lambda value: copy_format.field(UUID(value.decode()).bytes),
}
