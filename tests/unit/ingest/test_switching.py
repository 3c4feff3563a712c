"""The switch interval of the interpreter is shortened while a worker runs, and restored after it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from bemi_django.ingest.loop.switching import quick_switches
from tests.support.polling import DEADLINE


@pytest.fixture(params=[0.005, 0.0001], ids=["Python's own", "a shorter one"])
def interval(request: pytest.FixtureRequest) -> Iterator[float]:
    previous = sys.getswitchinterval()
    # It is stored in whole microseconds.
    sys.setswitchinterval(request.param)
    yield sys.getswitchinterval()
    sys.setswitchinterval(previous)


def test_the_interval_is_restored_and_never_made_longer(interval: float) -> None:
    with pytest.raises(ValueError, match="the worker fails"), quick_switches():
        assert sys.getswitchinterval() == pytest.approx(min(0.0005, interval), abs=2e-6)
        raise ValueError("the worker fails")
    assert sys.getswitchinterval() == pytest.approx(interval, abs=2e-6)


def test_the_last_of_several_workers_restores_it(interval: float) -> None:
    entered, may_leave = threading.Event(), threading.Event()

    def work() -> None:
        with quick_switches():
            entered.set()
            may_leave.wait(DEADLINE)

    other = threading.Thread(target=work)
    with quick_switches():
        shortened = sys.getswitchinterval()
        other.start()
        assert entered.wait(DEADLINE)
    assert sys.getswitchinterval() == pytest.approx(shortened)
    may_leave.set()
    other.join(DEADLINE)
    assert sys.getswitchinterval() == pytest.approx(interval, abs=2e-6)
