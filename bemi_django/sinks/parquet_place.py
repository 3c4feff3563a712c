"""The place of Parquet files: whose it is, which file comes next, and up to where they have everything."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

from bemi_django.archive.location import Location, open_location
from bemi_django.archive.month import Month, month_of
from bemi_django.exceptions import ArchiveError, ReplicationError, SinkUnavailable, first_line
from bemi_django.sinks.new_objects import new_objects
from bemi_django.sinks.parquet_manifests import Manifests

#: Names of files and manifests, and of files that are being written.
_NAME = re.compile(r"changes-(\d{8})(?:-[0-9a-f]{8}(?=\.parquet))?\.(parquet|json)(\.unfinished)?", re.ASCII)
#: Names the slot where no manifest does yet. Readers of data sets leave out what begins like this.
_OWNER = "_slot"
#: Keeps two workers from writing in one directory.
_LOCK = "_lock"
#: Failures that somebody has to do something about.
_LASTING = (
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.EEXIST, errno.ELOOP),
    errno.ENAMETOOLONG,
)


class ParquetPlace:
    """A directory or a folder of an object store, with the files of one slot in folders of months.

    Args:
        address: A directory, or an address that pyarrow knows.
        name: The address for messages, without secrets.
        slot: The slot whose changes are written.

    Raises:
        ReplicationError: The place belongs to something else, or cannot be written.
        SinkUnavailable: It cannot be reached now.
    """

    def __init__(self, address: str, name: str, slot: str) -> None:
        self._name = name
        #: The sequence number up to which the files have all changes; None without any.
        self.position: int | None = None
        self._month, self._number = month_of(datetime.now(timezone.utc)), 0
        self._is_own = False
        self._abandoned: list[tuple[Month, str]] = []
        with self.advised():
            self._location: Location = open_location(address)._replace(is_private=True)
        self._manifests = Manifests(self._location, slot)
        self._lock, self._new = self._locked(), new_objects(address)
        # Where there are no locks, a worker that was paused goes on. Its files have names of their own.
        self._session = "" if self._lock is not None else f"-{secrets.token_hex(4)}"
        try:
            with self.advised():
                self._recover()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def written(self) -> Iterator[Any]:
        """Yield the next file, which is there when it is also completed."""
        self._number += 1
        # Folders are in the order of their files, whatever the clock does.
        self._month = max(self._month, month_of(datetime.now(timezone.utc)))
        self._is_own = True
        with self._location.written(self._month, self._file) as file:
            yield file

    def complete(self, changes: int, committed_at: int, end: int) -> None:
        """Write the manifest of the file that was written.

        Args:
            changes: The number of its changes.
            committed_at: The last commit time, in microseconds since 2000-01-01 UTC.
            end: The sequence number where it ends.

        Raises:
            SinkUnavailable: Another worker has completed the file of this number.
        """
        self._require_next()
        # From here on, the manifest may be there, whatever fails.
        self._is_own = False
        self._write_manifest(self._manifests.of_file(self._file, changes, committed_at, end))
        while self._abandoned:
            with suppress(ArchiveError):
                self._location.delete(*self._abandoned.pop())

    def _write_manifest(self, manifest: bytes) -> None:
        """Write the manifest, where there is none if the store can be asked for that."""
        where = self._month, self._manifest
        is_new = self._new.put(self._location.path(*where), manifest) if self._new else None
        if is_new is None:
            with self._location.written(*where) as file:
                file.write(manifest)
        elif not is_new and (found := self._location.read(*where)) != manifest:
            # Otherwise an attempt was repeated whose answer was lost. One that is not there yet may be ours.
            self._is_own = found is not None
            raise SinkUnavailable(f"{self._name} is being written by another worker")

    def discard(self) -> None:
        """Delete the file that was written and not completed, unless it is for the next worker to do."""
        if self._session and self._is_own:
            self._is_own = False
            self._location.delete(self._month, self._file)

    def close(self) -> None:
        """Let other workers in."""
        if (lock := self._lock) is not None:
            self._lock = None
            os.close(lock)

    @contextmanager
    def advised(self) -> Iterator[None]:
        """Turn errors of the file system into those that say what to do."""
        try:
            yield
        except (OSError, ArchiveError) as error:
            cause = error.__cause__ if isinstance(error, ArchiveError) else error
            reason = f"cannot write to {self._name}: {first_line(cause or error)}"
            if isinstance(cause, OSError) and cause.errno not in _LASTING:
                raise SinkUnavailable(reason) from error
            advice = "let the worker write there, or give another address"
            raise ReplicationError(f"{reason}: {advice}") from error

    @property
    def _file(self) -> str:
        return f"changes-{self._number:08}{self._session}.parquet"

    @property
    def _manifest(self) -> str:
        return f"changes-{self._number:08}.json"

    def _require_next(self) -> None:
        """Raise SinkUnavailable if another worker, which took this one for dead, has gone on."""
        if not self._session:
            return
        for month in self._location.months():
            if month >= self._month and self._location.read(month, self._manifest) is not None:
                raise SinkUnavailable(f"{self._name} is being written by another worker")

    def _locked(self) -> int | None:
        """Keep out a worker that takes over from one that was paused, and goes on."""
        with self.advised():
            try:
                return self._location.lock(_LOCK)
            except BlockingIOError:
                raise SinkUnavailable(f"{self._name} is being written by another worker") from None

    def _recover(self) -> None:
        """Find the last manifest, and see to the file after it, which was not completed."""
        left: list[tuple[Month, re.Match[str]]] = []
        months = self._location.months()
        for month in reversed(months):
            found = [match for name in self._location.names(month) if (match := _NAME.fullmatch(name))]
            complete = {match[1] for match in found if match[2] == "json" and not match[3]}
            left += ((month, match) for match in found if match[1] not in complete or match[3])
            if complete:
                self._month, self._number = month, max(map(int, complete))
                self.position = self._manifests.position(month, self._manifest, {match[0] for match in found})
                break
        else:
            self._take_place(months, left)
        # Before one is removed: files that come later are not of this slot.
        for month, match in left:
            if int(match[1]) > self._number + 1:
                raise self._manifests.foreign(month, match[0])
        for month, match in left:
            if int(match[1]) != self._number + 1:
                continue
            if self._location.read(month, f"changes-{match[1]}.json") is not None:
                raise SinkUnavailable(f"{self._name} does not list the manifest of {match[0]} yet")
            if self._session:
                # Its worker may be about to write the manifest.
                self._abandoned.append((month, match[0]))
            else:
                self._location.delete(month, match[0])

    def _take_place(self, months: list[Month], left: list[tuple[Month, re.Match[str]]]) -> None:
        """Note whose files come here, before the first of them is complete."""
        taken = [month for month in months if _OWNER in self._location.names(month)]
        for month in taken:
            self._manifests.read(month, _OWNER)
        if taken:
            return
        for month, match in left:
            raise self._manifests.foreign(month, match[0])
        with self._location.written(self._month, _OWNER) as file:
            file.write(self._manifests.of_slot())
