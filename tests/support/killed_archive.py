"""``bemi archive`` in a process that kills itself when it writes a file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.core.management import call_command


def main(place: str, month: str, victim: str, moment: str, *options: str) -> None:
    """Archive the months before one, in files of two changes.

    Args:
        place: The archive.
        month: What ``--before`` gets.
        victim: The name of the file at which the process ends.
        moment: When it ends: the file is ``begun``, ``full`` but not closed, or written (``over``).
        options: More arguments.
    """
    django.setup()
    from bemi_django.archive import storing
    from bemi_django.archive.location import Location

    real = Location.written

    @contextmanager
    def written(self: Location, of: Any, name: str) -> Iterator[Any]:
        if name != victim:
            with real(self, of, name) as file:
                yield file
            return
        with real(self, of, name) as file:
            if moment == "begun":
                file.write(b"PAR1")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            yield file
            if moment == "full":
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    storing.PART_ROWS = 2
    setattr(Location, "written", written)  # noqa: B010 - a method of a class
    call_command("bemi", "archive", "--before", month, "--to", place, *options)


if __name__ == "__main__":
    main(*sys.argv[1:])
