"""Settings of the interpreter while a worker runs: quick switches between its threads, few collections."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds that the writing thread waits for the reading one at each of its steps. With Python's default of
#: 5 ms, the destination waits for its next step a good part of the time.
_INTERVAL = 0.0005
#: Objects that there are more of before the garbage collector looks at them: more than those of the rows that
#: wait for the log, which are in no cycles. With Python's default of 700 it looks at each of them twice.
_OBJECTS = 50_000

_lock = threading.Lock()
_users = 0
_interval = 0.0
_thresholds = (0, 0, 0)


@contextmanager
def tuned_interpreter() -> Iterator[None]:
    """Shorten the switch interval for the block, and let the garbage collector run less often.

    Both belong to the process: the last of several workers restores them.
    """
    global _users, _interval, _thresholds
    with _lock:
        if not _users:
            _interval, _thresholds = sys.getswitchinterval(), gc.get_threshold()
            sys.setswitchinterval(min(_INTERVAL, _interval))
            young, *older = _thresholds
            # Nothing is collected with 0.
            gc.set_threshold(young and max(_OBJECTS, young), *older)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                sys.setswitchinterval(_interval)
                gc.set_threshold(*_thresholds)
