"""Parquet files in a directory or an object store: each is there when its manifest, with the position, is."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

from bemi_django.archive.columns import log_columns
from bemi_django.archive.location import Location, open_location
from bemi_django.archive.month import Month, month_of
from bemi_django.archive.part import PartWriter
from bemi_django.archive.row_format import decoders_of, values_of
from bemi_django.exceptions import ArchiveError, ReplicationError, SinkUnavailable, first_line
from bemi_django.ingest.export.row_json import moment_json, position_in, position_json
from bemi_django.ingest.export.target import ExportPart
from bemi_django.ingest.rows.row_writer import COLUMNS

_FORMAT = 1
#: Names of files and manifests, and of files that are being written.
_NAME = re.compile(r"changes-(\d{8})\.(parquet|json)(\.unfinished)?", re.ASCII)
#: Names the slot where no manifest does yet. Readers of data sets leave out what begins like this.
_OWNER = "_slot"
#: Keeps two workers from writing in one directory.
_LOCK = "_lock"
_UNLIKE = (
    "{file} has {changes} changes, and its manifest says another number: two workers have written it. Move "
    "both away, and run with --accept-gap"
)
#: Failures that somebody has to do something about.
_LASTING = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.EEXIST, errno.ELOOP)


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
        self._slot, self._seconds, self._largest = slot, seconds, size
        kinds = log_columns()
        self._columns = {column: kinds[column] for column in COLUMNS}
        self._decoders = decoders_of(self._columns)
        #: The sequence number up to which the files have all changes; None without any.
        self.position: int | None = None
        self._month, self._number = month_of(datetime.now(timezone.utc)), 0
        self._open = ExitStack()
        self._writer: PartWriter | None = None
        self._since = 0.0
        self._rows = self._size = self._committed_at = 0
        self._end: int | None = None
        with self._advised():
            self._location: Location = open_location(address)._replace(is_private=True)
        self._lock = self._locked()
        try:
            with self._advised():
                self._recover()
        except BaseException:
            self._unlock()
            raise

    def render(self, row: bytes) -> bytes:
        """Return the row as COPY sends it: it has only text where text is expected."""
        sent = len(self._columns).to_bytes(2, "big") + row
        for value in values_of(sent, self._decoders):
            if isinstance(value, bytes):
                value.decode()
        return sent

    def write(self, part: ExportPart) -> None:
        """Write a part to the open file."""
        with self._advised():
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
        with self._advised():
            self._writer.close()
            self._open.close()
            manifest = {
                "format": _FORMAT,
                "slot": self._slot,
                "file": self._file("parquet"),
                "changes": self._rows,
                "committed_at": moment_json(self._committed_at),
                **position_json(self._end),
            }
            with self._location.written(self._month, self._file("json")) as file:
                file.write(json.dumps(manifest).encode())
        self.position = self._end
        self._writer, self._rows, self._size = None, 0, 0
        return True

    @property
    def is_due(self) -> bool:
        """Whether the open file is old enough, and ends with a transaction."""
        is_whole = self._writer is not None and self._end is not None
        return is_whole and time.monotonic() >= self._since + self._seconds

    def interrupt(self) -> None:
        """Do nothing: what is not complete is not waited for."""

    def close(self) -> None:
        """Leave the open file unfinished; it is removed at the next start."""
        with suppress(OSError, ArchiveError, SinkUnavailable):
            if self._writer is not None:
                self._writer.close()
            unfinished = SinkUnavailable(f"a file of {self.name} was not completed")
            self._open.__exit__(SinkUnavailable, unfinished, None)
        self._unlock()

    def _locked(self) -> int | None:
        """Keep out a worker that takes over from one that was paused, and goes on."""
        with self._advised():
            try:
                return self._location.lock(_LOCK)
            except BlockingIOError:
                raise SinkUnavailable(f"{self.name} is being written by another worker") from None

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def _begin(self) -> PartWriter:
        self._number += 1
        # Folders are in the order of their files, whatever the clock does.
        self._month = max(self._month, month_of(datetime.now(timezone.utc)))
        self._since = time.monotonic()
        sink = self._open.enter_context(self._location.written(self._month, self._file("parquet")))
        self._writer = PartWriter(sink, self._columns)
        return self._writer

    def _file(self, ending: str) -> str:
        return f"changes-{self._number:08}.{ending}"

    def _recover(self) -> None:
        """Find the last manifest, and remove the file after it, which was not completed."""
        left: list[tuple[Month, re.Match[str]]] = []
        months = self._location.months()
        for month in reversed(months):
            found = [match for name in self._location.names(month) if (match := _NAME.fullmatch(name))]
            complete = {match[1] for match in found if match[2] == "json" and not match[3]}
            left += ((month, match) for match in found if match[1] not in complete or match[3])
            if complete:
                self._month, self._number = month, max(map(int, complete))
                self.position = self._position(month, self._file("json"), {match[0] for match in found})
                break
        else:
            self._take_place(months, left)
        # Before one is removed: files that come later are not of this slot.
        for month, match in left:
            if int(match[1]) > self._number + 1:
                raise ReplicationError(self._foreign(month, match[0]))
        for month, match in left:
            if int(match[1]) != self._number + 1:
                continue
            if self._location.read(month, f"changes-{match[1]}.json") is not None:
                raise SinkUnavailable(f"{self.name} does not list the manifest of {match[0]} yet")
            self._location.delete(month, match[0])

    def _take_place(self, months: list[Month], left: list[tuple[Month, re.Match[str]]]) -> None:
        """Note whose files come here, before the first of them is complete."""
        taken = [month for month in months if _OWNER in self._location.names(month)]
        for month in taken:
            self._read(month, _OWNER)
        if taken:
            return
        for month, match in left:
            raise ReplicationError(self._foreign(month, match[0]))
        with self._location.written(self._month, _OWNER) as file:
            file.write(json.dumps({"format": _FORMAT, "slot": self._slot}).encode())

    def _read(self, month: Month, name: str) -> dict[str, Any]:
        """Return what is in a manifest of the slot."""
        try:
            found: dict[str, Any] = json.loads(self._location.read(month, name) or b"")
            if (found["format"], found["slot"]) == (_FORMAT, self._slot):
                return found
        except (KeyError, TypeError, ValueError, RecursionError):
            pass
        raise ReplicationError(self._foreign(month, name))

    def _position(self, month: Month, name: str, files: Iterable[str]) -> int:
        from pyarrow import parquet

        manifest = self._read(month, name)
        try:
            position = position_in(manifest)
        except ValueError:
            raise ReplicationError(self._foreign(month, name)) from None
        file = str(manifest.get("file"))
        if file in files:
            with self._location.opened(month, file) as opened:
                changes = parquet.read_metadata(opened).num_rows
            if changes != manifest.get("changes"):
                # A worker that was paused has gone on where another one writes: an object store has no locks.
                raise ReplicationError(
                    _UNLIKE.format(file=self._location.shown(month, file), changes=changes)
                )
        return position

    def _foreign(self, month: Month, name: str) -> str:
        return (
            f"{self._location.shown(month, name)} is not of the slot {self._slot}: give another address, or "
            "move the files away"
        )

    @contextmanager
    def _advised(self) -> Iterator[None]:
        """Turn errors of the file system into those that say what to do."""
        try:
            yield
        except (OSError, ArchiveError) as error:
            cause = error.__cause__ if isinstance(error, ArchiveError) else error
            reason = f"cannot write to {self.name}: {first_line(cause or error)}"
            if isinstance(cause, OSError) and cause.errno not in _LASTING:
                raise SinkUnavailable(reason) from error
            advice = "let the worker write there, or give another address"
            raise ReplicationError(f"{reason}: {advice}") from error
