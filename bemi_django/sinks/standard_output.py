"""Changes as lines of JSON on the standard output, for another program."""

from __future__ import annotations

import os
import select
import threading

from bemi_django.exceptions import ReplicationError, SinkUnavailable
from bemi_django.ingest.export.row_json import row_json
from bemi_django.ingest.export.target import ExportPart
from bemi_django.sinks.change_lines import ChangeLines

_PAUSE = 0.2


class StandardOutput:
    """Writes changes to a file descriptor that remembers nothing: at least once.

    Args:
        descriptor: Where to write.
    """

    name = "stdout:"
    position = None
    is_due = False

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines = ChangeLines()
        self._is_over = threading.Event()

    def render(self, row: bytes) -> bytes:
        """Return the line of a row."""
        return row_json(row)

    def write(self, part: ExportPart) -> None:
        """Write the lines of a part, as fast as they are read."""
        left = memoryview(self._lines.lines(part))
        try:
            while left:
                # A pipe that is ready takes so many bytes at once.
                if select.select([], [self._descriptor], [], _PAUSE)[1]:
                    left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]
                elif self._is_over.is_set():
                    raise SinkUnavailable("stopped while nobody read the standard output")
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
