"""Changes as lines of JSON on the standard output, for another program."""

from __future__ import annotations

import os
import select
import threading

from bemi_django.exceptions import ReplicationError, SinkUnavailable
from bemi_django.ingest.export.row_json import row_json
from bemi_django.ingest.export.target import ExportPart
from bemi_django.sinks.change_lines import ChangeLines, beginning

_PAUSE = 0.2
_NEWLINE = ord("\n")


class OutputPipe:
    """A file descriptor that takes lines, and may be left within one.

    Args:
        descriptor: Where to write.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._is_within_line = False

    def write(self, lines: bytes, is_over: threading.Event) -> None:
        """Write lines, as fast as they are read; first, end the one that was left.

        Raises:
            SinkUnavailable: It is over, and nobody reads.
        """
        left = memoryview(b"\n" + lines if self._is_within_line else lines)
        while left:
            # A pipe that is ready takes so many bytes at once.
            if select.select([], [self._descriptor], [], _PAUSE)[1]:
                written = os.write(self._descriptor, left[: select.PIPE_BUF])
                self._is_within_line = left[written - 1] != _NEWLINE
                left = left[written:]
            elif is_over.is_set():
                raise SinkUnavailable("stopped while nobody read the standard output")


class StandardOutput:
    """Writes changes to a pipe that remembers nothing: at least once.

    Args:
        pipe: Where to write; that of the process, which all of its sessions share.
    """

    name = "stdout:"
    position = None
    is_due = False

    def __init__(self, pipe: OutputPipe) -> None:
        self._pipe = pipe
        self._lines = ChangeLines()
        self._has_begun = False
        self._is_over = threading.Event()

    def render(self, row: bytes) -> bytes:
        """Return the line of a row."""
        return row_json(row)

    def write(self, part: ExportPart) -> None:
        """Write the lines of a part; before the first one, say where they begin."""
        lines = self._lines.lines(part)
        if not self._has_begun:
            lines = beginning(part) + lines
        self._has_begun = True
        try:
            self._pipe.write(lines, self._is_over)
        except OSError as error:
            raise ReplicationError(f"cannot write to the standard output: {error.strerror}") from error

    def keep(self, *, is_last: bool) -> bool:
        """Return that everything was written."""
        return True

    def interrupt(self) -> None:
        """Give up to wait for the reader."""
        self._is_over.set()

    def close(self) -> None:
        """Leave the descriptor open: it belongs to the process."""
