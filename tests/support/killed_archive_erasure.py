"""``bemi erase`` in a process that kills itself when it writes a file of the archive."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command


def main(name: str, victim: str, moment: str) -> None:
    """Erase an object from the log and the archive in ``BEMI_TEST_ARCHIVE``.

    Args:
        name: What ``bemi erase`` gets.
        victim: The name of the file at which the process ends.
        moment: When it ends: the file is ``begun``, ``full`` but not closed, or written (``over``).
    """
    django.setup()
    settings.BEMI_ARCHIVE = os.environ["BEMI_TEST_ARCHIVE"]
    from bemi_django.archive.location import Location

    real = Location.written

    @contextmanager
    def written(self: Location, of: Any, file_name: str) -> Iterator[Any]:
        with real(self, of, file_name) as file:
            if (file_name, moment) == (victim, "begun"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield file
            if (file_name, moment) == (victim, "full"):
                os.kill(os.getpid(), signal.SIGKILL)
        if file_name == victim:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(Location, "written", written)  # noqa: B010 - a method of a class
    call_command("bemi", "erase", name, "--reason", "test", "--noinput")


if __name__ == "__main__":
    main(*sys.argv[1:])
