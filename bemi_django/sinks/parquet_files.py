"""Parquet files in a directory or an object store: each is there when its manifest, with the position, is."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

from bemi_django.archive.columns import log_columns
from bemi_django.archive.part import PartWriter
from bemi_django.archive.row_format import decoders_of, values_of
from bemi_django.exceptions import ArchiveError, SinkUnavailable
from bemi_django.ingest.export.target import ExportPart
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.sinks.parquet_place import ParquetPlace


class ParquetFiles:
    """Writes changes to files, one after another, in folders of months.

    Args:
        address: A directory, or an address that pyarrow knows.
        name: The address for messages, without secrets.
        slot: The slot whose changes are written.
        seconds: Age at which a file is complete.
        size: Bytes of rows at which it is.

    Raises:
        ReplicationError: The place belongs to something else, or cannot be written.
        SinkUnavailable: It cannot be reached now.
    """

    def __init__(self, address: str, name: str, slot: str, seconds: float, size: int) -> None:
        self.name = name
        self._seconds, self._largest = seconds, size
        kinds = log_columns()
        self._columns = {column: kinds[column] for column in COLUMNS}
        self._decoders = decoders_of(self._columns)
        self._place = ParquetPlace(address, name, slot)
        #: The sequence number up to which the files have all changes; None without any.
        self.position = self._place.position
        self._open = ExitStack()
        self._writer: PartWriter | None = None
        self._since = 0.0
        self._rows = self._size = self._committed_at = 0
        self._end: int | None = None

    def render(self, row: bytes) -> bytes:
        """Return the row as COPY sends it: it has only text where text is expected."""
        sent = len(self._columns).to_bytes(2, "big") + row
        for value in values_of(sent, self._decoders):
            if isinstance(value, bytes):
                value.decode()
        return sent

    def write(self, part: ExportPart) -> None:
        """Write a part to the open file."""
        with self._place.advised():
            writer = self._writer or self._begin()
            for row in part.rows:
                writer.add(row)
                self._size += len(row)
            self._rows += len(part.rows)
            self._end, self._committed_at = part.end, part.committed_at

    def keep(self, *, is_last: bool) -> bool:
        """Complete the file if it is time to, with its manifest."""
        if self._writer is None:
            return True
        if self._end is None or not (is_last or self.is_due or self._size >= self._largest):
            return False
        with self._place.advised():
            self._writer.close()
            self._open.close()
            self._place.complete(self._rows, self._committed_at, self._end)
        self.position, self._writer, self._rows, self._size = self._end, None, 0, 0
        return True

    @property
    def is_due(self) -> bool:
        """Whether the open file is old enough, and ends with a transaction."""
        is_whole = self._writer is not None and self._end is not None
        return is_whole and time.monotonic() >= self._since + self._seconds

    def interrupt(self) -> None:
        """Do nothing: what is not complete is not waited for."""

    def close(self) -> None:
        """Leave the open file unfinished; it is removed now or at the next start."""
        try:
            with suppress(OSError, ArchiveError, SinkUnavailable):
                if self._writer is not None:
                    self._writer.close()
                unfinished = SinkUnavailable(f"a file of {self.name} was not completed")
                self._open.__exit__(SinkUnavailable, unfinished, None)
                self._place.discard()
        finally:
            self._place.close()

    def _begin(self) -> PartWriter:
        self._since = time.monotonic()
        sink = self._open.enter_context(self._place.written())
        self._writer = PartWriter(sink, self._columns)
        return self._writer
