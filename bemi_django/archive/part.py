"""A Parquet file of the archive: written row by row, and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow
from pyarrow import parquet

from bemi_django.archive.columns import open_writer, schema_of
from bemi_django.archive.location import Location
from bemi_django.archive.month import Month
from bemi_django.archive.row_format import decoders_of, rows_of, values_of
from bemi_django.exceptions import ArchiveError

#: A row group ends with this number of rows or bytes, so that it fits into memory.
_ROWS = 20_000
_BYTES = 32 * 1024 * 1024
#: The number of rows that are read at a time.
_BATCH = 1_000


class Digest:
    """The number of rows, and a checksum of what is in them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.rows = 0

    def add(self, row: bytes) -> None:
        """Add a row in the binary format of COPY."""
        self._hash.update(row)
        self.rows += 1

    @property
    def value(self) -> tuple[int, str]:
        """The number of rows, and the checksum in hexadecimal digits."""
        return self.rows, self._hash.hexdigest()


class PartWriter:
    """Writes rows to a Parquet file, in bounded memory.

    Args:
        sink: A file that is open for writing.
        columns: The kinds of the columns by name.
    """

    def __init__(self, sink: Any, columns: Mapping[str, str]) -> None:
        self._schema = schema_of(columns)
        self._decoders = decoders_of(columns)
        self._writer = open_writer(sink, self._schema)
        self._values: list[list[Any]] = []
        self._size = 0

    def add(self, row: bytes) -> None:
        """Write a row that is given in the binary format of COPY."""
        self._values.append(values_of(row, self._decoders))
        self._size += len(row)
        if len(self._values) == _ROWS or self._size >= _BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._values:
            return
        arrays = [
            pyarrow.array(column, field.type)
            for column, field in zip(zip(*self._values, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._values, self._size = [], 0


class Part(NamedTuple):
    """A file of the archive.

    Attributes:
        name: Its name in the folder of the month.
        rows: The number of changes.
        digest: The checksum of the changes, as :class:`Digest` computes it.
        first_id: The id of the first change.
        last_id: That of the last one.
        bytes: The size of the file.
        sha256: The checksum of the file.
    """

    name: str
    rows: int
    digest: str
    first_id: str
    last_id: str
    bytes: int
    sha256: str


def write_part(
    location: Location,
    month: Month,
    name: str,
    columns: Mapping[str, str],
    copy: Callable[[Callable[[bytes], object]], object],
) -> Digest:
    """Write a file and return the digest of its rows.

    Args:
        location: The archive.
        month: The month of the rows.
        name: The name of the file.
        columns: The kinds of the columns by name.
        copy: Calls its argument with each row.
    """
    digest = Digest()
    with location.written(month, name) as sink:
        writer = PartWriter(sink, columns)

        def receive(row: bytes) -> None:
            digest.add(row)
            writer.add(row)

        copy(receive)
        writer.close()
    return digest


def read_rows(location: Location, month: Month, name: str, columns: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the rows of a file in the binary format of COPY.

    Raises:
        ArchiveError: It is not a file of the archive.
    """
    try:
        with location.opened(month, name) as source:
            file = parquet.ParquetFile(source)
            if not file.schema_arrow.equals(schema_of(columns)):
                raise ArchiveError(f"{location.shown(month, name)} has other columns than the log")
            for batch in file.iter_batches(_BATCH):
                yield from rows_of(batch, columns)
    # Every kind of damage has an error of its own: of Arrow, of text that is none, of ids that are none.
    except (pyarrow.ArrowException, ValueError, EOFError) as error:
        raise ArchiveError(f"{location.shown(month, name)} is not a complete Parquet file") from error


def read_part(location: Location, month: Month, name: str, columns: Mapping[str, str]) -> Part:
    """Read a file from its first to its last byte, and return what is in it.

    Raises:
        ArchiveError: It is not a complete file of the archive.
    """
    digest, places = Digest(), list(columns).index("id")
    first = last = b""
    for row in read_rows(location, month, name, columns):
        digest.add(row)
        first, last = first or row, row
    decoders = decoders_of(columns)
    ids = [values_of(row, decoders)[places].decode() if row else "" for row in (first, last)]
    size, checksum = read_checksum(location, month, name)
    return Part(name, *digest.value, ids[0], ids[1], size, checksum)


def read_checksum(location: Location, month: Month, name: str) -> tuple[int, str]:
    """Return the size of a file in bytes, and its SHA-256 in hexadecimal digits."""
    found, size = hashlib.sha256(), 0
    for piece in location.pieces(month, name):
        found.update(piece)
        size += len(piece)
    return size, found.hexdigest()
