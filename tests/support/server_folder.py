"""Folders for the data of the tests' servers."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30


def server_folder(prefix: str) -> Path:
    """Return a new folder that every user may enter, in memory where there is room.

    The servers make and remove many files, for which a disk takes a good part of their time.
    """
    # Not where pytest keeps files: the user of the server cannot enter there.
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=roomy_memory() or "/var/tmp"))
    folder.chmod(0o711)
    return folder


def roomy_memory() -> Path | None:
    """Return a folder in memory, if there is room in it."""
    return _MEMORY if _has_room() else None


def _has_room() -> bool:
    """Return whether the memory is there, and not for long runs, which write more than it holds."""
    if "BEMI_ROWS" in os.environ or not os.access(_MEMORY, os.W_OK):
        return False
    return shutil.disk_usage(_MEMORY).free > _ROOM and _available() > _ROOM


def _available() -> int:
    """Return the bytes of memory that are not in use."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0
