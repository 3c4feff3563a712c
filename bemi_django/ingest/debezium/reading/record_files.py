"""Read records from files of JSON Lines, one after another, and from standard input."""

from __future__ import annotations

import codecs
import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BufferedIOBase, BufferedReader
from typing import cast

from bemi_django.exceptions import ReplicationError

#: Stands for standard input.
STDIN = "-"
#: The largest line that is read, in bytes. No value of PostgreSQL is larger, and so no record of use.
_LONGEST = 1 << 30
_GZIP = b"\x1f\x8b"
#: What files begin with that hold no lines of JSON, and what to do about them.
_OTHERS = {
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd: unpack it, or compress it by gzip",
    b"\xfd7zXZ": "it is compressed by xz: unpack it, or compress it by gzip",
    b"BZh": "it is compressed by bzip2: unpack it, or compress it by gzip",
    b"PK\x03\x04": "it is a ZIP archive: unpack it",
    codecs.BOM_UTF16_LE: "it is UTF-16: write it as UTF-8",
    codecs.BOM_UTF16_BE: "it is UTF-16: write it as UTF-8",
}


class RecordFiles:
    """The lines of files, which may be compressed by gzip.

    Args:
        names: The names of the files, in the order in which they were written.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._is_begun = False

    def lines(self) -> Iterator[bytes]:
        """Yield the lines, without those that are empty.

        Raises:
            ReplicationError: A file cannot be read, or standard input was read before.
        """
        if self._is_begun and STDIN in self._names:
            raise ReplicationError("standard input cannot be read again: give the same records once more")
        self._is_begun = True
        for name in self._names:
            with ExitStack() as opened:
                try:
                    file = sys.stdin.buffer if name == STDIN else opened.enter_context(open(name, "rb"))
                    yield from _lines(_unpacked(cast(BufferedReader, file), opened))
                except (EOFError, zlib.error):
                    raise ReplicationError(f"cannot read {name}: it ends early, or is damaged") from None
                except OSError as error:
                    raise ReplicationError(f"cannot read {name}: {error.strerror or error}") from None
                except _Unfit as reason:
                    raise ReplicationError(f"cannot read {name}: {reason}") from None


class _Unfit(Exception):
    """A file that holds no lines of JSON, or a line that is too long."""


def _unpacked(file: BufferedReader, opened: ExitStack) -> BufferedIOBase:
    beginning = file.peek(8)
    for magic, reason in _OTHERS.items():
        if beginning.startswith(magic):
            raise _Unfit(reason)
    return opened.enter_context(gzip.GzipFile(fileobj=file)) if beginning.startswith(_GZIP) else file


def _lines(file: BufferedIOBase) -> Iterator[bytes]:
    # Programs of Windows mark UTF-8 by three bytes.
    line = file.readline(_LONGEST).removeprefix(codecs.BOM_UTF8)
    while line:
        if len(line) == _LONGEST:
            raise _Unfit(f"it has a line of more than {_LONGEST:,} bytes: it has to be JSON Lines")
        if stripped := line.strip():
            yield stripped
        line = file.readline(_LONGEST)
