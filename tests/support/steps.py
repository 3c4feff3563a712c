"""Count what code does, instead of timing it: a busy machine makes no difference."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """Fail as soon as the block has called and left more functions than that, built-in ones included."""
    steps = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal steps
        steps += 1
        assert steps <= limit, f"more than {limit:,} steps"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
    assert steps <= limit
