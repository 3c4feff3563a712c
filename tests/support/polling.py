"""Polling: wait until a condition is true, and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

#: Seconds after which a test gives up. It only ends what hangs: nothing is expected to be fast.
DEADLINE = 120.0

T = TypeVar("T")


def until(condition: Callable[[], T | None], seconds: float = DEADLINE, why: Callable[[], str] = str) -> T:
    """Poll the condition and return its first true value.

    Args:
        condition: What to ask, again and again.
        seconds: The deadline.
        why: Returns what the failure says about the state.
    """
    deadline = time.monotonic() + seconds
    pause = 0.001
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {why()}"
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return found
