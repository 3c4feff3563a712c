"""Read records from files of JSON Lines, one after another, and from standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO

from bemi_django.exceptions import ReplicationError

#: Stands for standard input.
STDIN = "-"


class RecordFiles:
    """The lines of files.

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
                    file: IO[bytes] = (
                        sys.stdin.buffer if name == STDIN else opened.enter_context(open(name, "rb"))
                    )
                except OSError as error:
                    raise ReplicationError(f"cannot read {name}: {error.strerror}") from None
                for line in file:
                    if stripped := line.strip():
                        yield stripped
