"""The place of an archive: a directory, or a folder of what pyarrow's file systems reach, such as S3."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyarrow import fs

from bemi_django.archive.month import Month, parse_month
from bemi_django.exceptions import ArchiveError, first_line

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: The part of an address that may hold a password, and the options behind it, which may as well.
_SECRET = re.compile(r"(?<=://)[^/]*@|\?.*", re.DOTALL)
_UNFINISHED = ".unfinished"
#: The number of bytes that are read at a time.
_PIECE = 1 << 20


class Location(NamedTuple):
    """An archive.

    Attributes:
        files: The file system.
        root: The path of the archive on it.
        name: The address for messages, without secrets.
        is_private: Whether what is made in a directory is for its owner only.
    """

    files: Any
    root: str
    name: str
    is_private: bool = False

    def path(self, month: Month, name: str) -> str:
        """Return the path of a file of a month."""
        return f"{self.root}/{month}/{name}"

    def shown(self, month: Month, name: str = "") -> str:
        """Return the address of a month or of one of its files for messages."""
        return f"{self.name.rstrip('/')}/{month}/{name}".rstrip("/")

    def months(self) -> list[Month]:
        """Return the months that have a folder."""
        with self._told():
            found = self.files.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        return sorted(_months_in(info.base_name for info in found))

    def names(self, month: Month) -> set[str]:
        """Return the names of the files of a month."""
        with self._told():
            chosen = fs.FileSelector(f"{self.root}/{month}", allow_not_found=True)
            return {info.base_name for info in self.files.get_file_info(chosen)}

    def read(self, month: Month, name: str) -> bytes | None:
        """Return the contents of a small file, or None if there is none."""
        with self._told():
            try:
                with self.files.open_input_stream(self.path(month, name)) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

    def pieces(self, month: Month, name: str) -> Iterator[bytes]:
        """Yield the contents of a file."""
        with self._told(), self.files.open_input_stream(self.path(month, name)) as stream:
            while piece := stream.read(_PIECE):
                yield piece

    @contextmanager
    def opened(self, month: Month, name: str) -> Iterator[Any]:
        """Yield a file that can be read anywhere."""
        with self._told(), self.files.open_input_file(self.path(month, name)) as file:
            yield file

    @contextmanager
    def written(self, month: Month, name: str) -> Iterator[Any]:
        """Yield a file to write, which has its name only when it is complete and on the disk."""
        path = self.path(month, name)
        with self._told():
            if self._is_object_store:
                # An object appears when it is closed. If that is too early, reading it back will tell.
                with self.files.open_output_stream(path) as stream:
                    yield stream
                return
            self._prepare(month, path + _UNFINISHED)
            with self.files.open_output_stream(path + _UNFINISHED) as stream:
                yield stream
            self._settle(path + _UNFINISHED)
            self.files.move(path + _UNFINISHED, path)
            self._settle(f"{self.root}/{month}")
            self._settle(self.root)

    def lock(self, name: str) -> int | None:
        """Keep others from locking a directory by a file in it, until what is returned is closed.

        Returns:
            A file descriptor; None for what has no locks, as an object store.

        Raises:
            BlockingIOError: Somebody has locked it.
            OSError: The file cannot be made.
        """
        if self.files.type_name != "local":
            return None
        os.makedirs(self.root, 0o700, exist_ok=True)
        opened = os.open(f"{self.root}/{name}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(opened)
            raise
        return opened

    def delete(self, month: Month, name: str) -> None:
        """Delete a file."""
        with self._told():
            self.files.delete_file(self.path(month, name))

    @property
    def _is_object_store(self) -> bool:
        return bool(self.files.type_name == "s3")

    def _prepare(self, month: Month, path: str) -> None:
        """Make the folder of a month and, if others must not read it, a file in it that is to be written."""
        if not self.is_private or self.files.type_name != "local":
            self.files.create_dir(f"{self.root}/{month}", recursive=True)
            return
        for folder in (self.root, f"{self.root}/{month}"):
            os.makedirs(folder, 0o700, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.chmod(path, 0o600)

    def _settle(self, path: str) -> None:
        """Wait until a file or directory is on the disk."""
        if self.files.type_name != "local":
            return
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArchiveError(
                f"cannot read or write the archive {self.name}: {first_line(error)}"
            ) from error


def open_location(address: str) -> Location:
    """Return the archive at a path, or at an address such as ``s3://bucket/folder``.

    Args:
        address: A path, or an address that ``FileSystem.from_uri()`` of pyarrow reads.

    Raises:
        ArchiveError: The address cannot be opened.
    """
    if not _SCHEME.match(address):
        path = os.path.abspath(address)
        return Location(fs.LocalFileSystem(), path.rstrip("/"), path)
    name = _SECRET.sub("", address)
    try:
        files, root = fs.FileSystem.from_uri(address)
        if not root and files.type_name != "local":
            raise ValueError
    # The messages quote the address, which may hold a password.
    except (OSError, ValueError, NotImplementedError):
        raise ArchiveError(
            f"cannot open the archive {name}: give a directory or an address such as s3://bucket/folder, and "
            "check credentials and region"
        ) from None
    return Location(files, root.rstrip("/"), name)


def _months_in(names: Iterator[str]) -> Iterator[Month]:
    for name in names:
        try:
            yield parse_month(name)
        except ValueError:
            continue
