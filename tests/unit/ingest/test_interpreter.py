"""The interpreter switches sooner and collects less while a worker runs, and as before after it."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from bemi_django.ingest.loop.interpreter import tuned_interpreter
from tests.support.polling import DEADLINE


@pytest.fixture(params=[0.005, 0.0001], ids=["Python's own", "a shorter one"])
def interval(request: pytest.FixtureRequest) -> Iterator[float]:
    previous = sys.getswitchinterval()
    # It is stored in whole microseconds.
    sys.setswitchinterval(request.param)
    yield sys.getswitchinterval()
    sys.setswitchinterval(previous)


def test_the_interval_is_restored_and_never_made_longer(interval: float) -> None:
    with pytest.raises(ValueError, match="the worker fails"), tuned_interpreter():
        assert sys.getswitchinterval() == pytest.approx(min(0.0005, interval), abs=2e-6)
        raise ValueError("the worker fails")
    assert sys.getswitchinterval() == pytest.approx(interval, abs=2e-6)


def test_the_last_of_several_workers_restores_it(interval: float) -> None:
    entered, may_leave = threading.Event(), threading.Event()

    def work() -> None:
        with tuned_interpreter():
            entered.set()
            may_leave.wait(DEADLINE)

    other = threading.Thread(target=work)
    with tuned_interpreter():
        shortened = sys.getswitchinterval()
        other.start()
        assert entered.wait(DEADLINE)
    assert sys.getswitchinterval() == pytest.approx(shortened)
    may_leave.set()
    other.join(DEADLINE)
    assert sys.getswitchinterval() == pytest.approx(interval, abs=2e-6)


@pytest.mark.parametrize("young", [0, 700, 90_000])
def test_garbage_is_collected_less_often_but_not_where_it_was_not(young: int) -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(young, 9, 8)
        with tuned_interpreter():
            assert gc.get_threshold() == (young and max(young, 50_000), 9, 8)
        assert gc.get_threshold() == (young, 9, 8)
    finally:
        gc.set_threshold(*before)
