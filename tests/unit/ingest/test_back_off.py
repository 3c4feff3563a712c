from __future__ import annotations

import threading

import pytest

from bemi_django.ingest.back_off import BackOff
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.timeouts import Timeouts


class Waits(threading.Event):
    """Notes how long it is waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.taken.append(timeout)
        return False


@pytest.mark.parametrize("is_working", [False, True])
def test_pauses_grow_until_a_session_has_written(is_working: bool) -> None:
    progress, stop = Progress(), Waits()
    back_off = BackOff(Timeouts(first_pause=1.0, longest_pause=4.0), progress, stop)
    for _ in range(4):
        back_off.begin()
        if is_working:
            progress.add(1)
        back_off.rest(RuntimeError("gone"))
    expected = [1.0] * 4 if is_working else [1.0, 2.0, 4.0, 4.0]
    assert all(0.8 <= taken / pause <= 1.2 for taken, pause in zip(stop.taken, expected, strict=True))
    assert progress.counts["sessions that failed"] == 4


def test_a_session_that_lasted_was_well() -> None:
    stop = Waits()
    back_off = BackOff(Timeouts(first_pause=1.0, good=0.0), Progress(), stop)
    for _ in range(2):
        back_off.rest(RuntimeError("gone"))
    assert max(stop.taken) <= 1.2
