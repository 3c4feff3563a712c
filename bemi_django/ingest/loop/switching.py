"""Quick switches between the thread that reads the stream and the one that writes the log."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds that the writing thread waits for the reading one at each of its steps. With Python's default of
#: 5 ms, the destination waits for its next step a good part of the time.
_INTERVAL = 0.0005

_lock = threading.Lock()
_users = 0
_previous = 0.0


@contextmanager
def quick_switches() -> Iterator[None]:
    """Shorten the interpreter's switch interval for the block.

    The interval belongs to the process: the last of several workers restores it.
    """
    global _users, _previous
    with _lock:
        if not _users:
            _previous = sys.getswitchinterval()
            sys.setswitchinterval(min(_INTERVAL, _previous))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                sys.setswitchinterval(_previous)
