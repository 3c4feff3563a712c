"""A file of JSON lines: it holds its position, and ends with the last whole transaction."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from bemi_django.exceptions import ReplicationError, SinkUnavailable
from bemi_django.ingest.export.row_json import row_json
from bemi_django.ingest.export.target import ExportPart
from bemi_django.sinks.change_lines import END, ChangeLines, end_of, header

#: Bytes that are read at a time, from the end.
_BLOCK = 64 * 1024
#: Bytes of the longest line that ends a transaction.
_LONGEST_END = 1024
#: Failures that pass by themselves, or when somebody makes room.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EINTR, errno.ESTALE)
#: What to do about the others.
_ADVICE = {
    errno.EIO: "check the disk, and move the file away: another one goes on with what was not written",
    errno.ELOOP: "it is a symbolic link; give the path that it leads to",
}
_OPENED = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class JsonLinesFile:
    """Appends changes to a file; what an interrupted writer has left is cut back to a whole transaction.

    A file that was moved away is left alone, and another one begun. Nobody else may read the file.

    Args:
        path: The path of the file; its directory has to be there.
        slot: The slot whose changes are written.

    Raises:
        ReplicationError: It cannot be written, or belongs to something else.
        SinkUnavailable: It cannot be written now.
    """

    is_due = False

    def __init__(self, path: str, slot: str) -> None:
        self.name = f"file://{path}"
        self._path, self._slot = path, slot
        self._lines = ChangeLines()
        self._is_synced = True
        #: The size of the file, and that of what is on the disk.
        self._size = self._kept = 0
        #: The sequence number up to which the file has all changes; None without any.
        self.position: int | None = None
        with self._advised():
            self._file = os.open(path, _OPENED, 0o600)
        try:
            with self._advised():
                self._require_own()
                self._lock()
                self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def render(self, row: bytes) -> bytes:
        """Return the line of a row."""
        return row_json(row)

    def write(self, part: ExportPart) -> None:
        """Append the lines of a part."""
        with self._advised():
            # What is kept together is in one file: if it were written again, it would be in both.
            if self._is_synced:
                self._require_same_file()
            left = memoryview(self._lines.lines(part))
            self._is_synced = False
            while left:
                written = os.write(self._file, left)
                self._size += written
                left = left[written:]
            if part.end is not None:
                self.position = part.end

    def keep(self, *, is_last: bool) -> bool:
        """Wait until what was written is on the disk."""
        if not self._is_synced:
            with self._advised():
                self._sync()
            here = os.fstat(self._file)
            if not here.st_nlink:
                raise SinkUnavailable(f"{self.name} was removed while it was written: going on in a new file")
            self._require_size(here)
            self._is_synced, self._kept = True, self._size
        return True

    def interrupt(self) -> None:
        """Do nothing: a file is not waited for."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError:
            # The kernel may count what it could not write as written: it has to be written anew.
            os.ftruncate(self._file, min(self._kept, os.fstat(self._file).st_size))
            raise

    def _require_own(self) -> None:
        """Refuse what is not a file of the worker's account, under one name."""
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != os.geteuid():
            raise ReplicationError(
                f"{self.name} is not a file of the worker's account alone: it has another owner or name, or "
                "is no file; give another path"
            )

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReplicationError(
                f"{self.name} is being written by another worker: give each database a file of its own"
            ) from None

    def _recover(self) -> None:
        """Cut the file back to the last whole transaction, and wait until that is on the disk."""
        first = header(self._slot)
        size = os.fstat(self._file).st_size
        begun = os.pread(self._file, len(first), 0)
        if begun != first:
            if size >= len(first) or not first.startswith(begun):
                raise ReplicationError(
                    f"{self.name} is not a file of the slot {self._slot}: move it away, or give another path"
                )
            os.ftruncate(self._file, 0)
        # One that was there before may be open to others.
        os.fchmod(self._file, 0o600)
        if begun != first:
            os.pwrite(self._file, first, 0)
        end = max(self._last_end(size, len(first)), len(first))
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        os.fsync(self._file)
        self._size = self._kept = end
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _last_end(self, size: int, start: int) -> int:
        """Find the last whole line that ends a transaction; return where it ends, or 0 if there is none."""
        found, at = b"", size
        while at >= start:
            begin = max(at - _BLOCK, start - 1)
            if begin == at:
                break
            # A line that begins in this block may end in the one after it.
            found = os.pread(self._file, at - begin, begin) + found[:_LONGEST_END]
            place = len(found)
            while (place := found.rfind(b"\n" + END, 0, place)) >= 0:
                line_end = found.find(b"\n", place + 1)
                if line_end >= 0:
                    try:
                        self.position = end_of(found[place + 1 : line_end])
                        return begin + line_end + 1
                    except ValueError:
                        continue
            at = begin
        return 0

    def _require_same_file(self) -> None:
        """Refuse to go on if the path leads to another file, or to none."""
        here = os.fstat(self._file)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            raise SinkUnavailable(f"{self.name} was moved away: going on in a new file")
        self._require_size(here)

    def _require_size(self, here: os.stat_result) -> None:
        """Refuse to go on if something else has changed the file."""
        if here.st_size != self._size:
            raise ReplicationError(
                f"{self.name} has {here.st_size} bytes and not {self._size}: something else shortens or "
                "writes it, and changes may be lost; rename it to rotate it"
            )

    @contextmanager
    def _advised(self) -> Iterator[None]:
        """Turn errors of the system into those that say what to do."""
        try:
            yield
        except OSError as error:
            reason = f"cannot write {self.name}: {error.strerror}"
            if error.errno in _PASSING:
                raise SinkUnavailable(reason) from error
            advice = _ADVICE.get(
                error.errno or 0, "create its directory, let the worker write there, or give another path"
            )
            raise ReplicationError(f"{reason}: {advice}") from error
