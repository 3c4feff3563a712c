"""Signals end a command, whenever they arrive."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from bemi_django.management.worker import stop_signals
from bemi_django.management.worker.stop_signals import stopped_by_signals
from tests.support.polling import DEADLINE


def test_a_signal_that_arrives_while_another_is_handled_is_handled_after_it() -> None:
    is_busy, is_done = threading.Lock(), threading.Event()
    calls: list[str] = []

    def stop() -> None:
        with is_busy:
            calls.append("begun")
            if len(calls) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            calls.append("ended")
        if len(calls) == 4:
            is_done.set()

    with stopped_by_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert is_done.wait(DEADLINE)
    assert calls == ["begun", "ended"] * 2


def test_a_server_that_is_out_of_reach_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    is_asked, is_reached = threading.Event(), threading.Event()

    def cancel() -> None:
        is_asked.set()
        is_reached.wait(DEADLINE)

    monkeypatch.setattr(stop_signals, "_cancel_statements", cancel)
    monkeypatch.setattr(stop_signals, "_CANCELLED", 0.01)
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with stop_signals.interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            assert is_asked.wait(DEADLINE)
        assert not is_reached.is_set()
    finally:
        is_reached.set()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_mean_afterwards_what_they_meant_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopped_by_signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
