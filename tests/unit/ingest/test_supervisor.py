"""What becomes of a worker that is told to stop."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bemi_django.ingest.loop import supervisor as supervisors
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.timeouts import Timeouts
from tests.support.polling import DEADLINE


class Deaf:
    """A worker that ends when it was abandoned as often as it takes."""

    has_streamed = False
    activity = 0

    def __init__(self, abandonments: int) -> None:
        self.left = abandonments
        self.is_running, self._may_end = threading.Event(), threading.Event()

    def run(self, until_current: bool) -> None:
        self.is_running.set()
        assert self._may_end.wait(DEADLINE)

    def stop(self) -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._may_end.set()


def of(worker: Deaf, monkeypatch: pytest.MonkeyPatch, grace: float) -> Supervisor:
    monkeypatch.setattr(supervisors, "Worker", lambda *arguments: worker)
    config: Any = None
    return Supervisor(config, Timeouts(grace=grace))


def test_a_worker_is_abandoned_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it connects, nothing is interrupted, and it may wait for a server afterwards."""
    monkeypatch.setattr(supervisors, "_AGAIN", 0.001)
    worker = Deaf(3)
    supervisor = of(worker, monkeypatch, grace=0.0)
    running = threading.Thread(target=supervisor.run)
    running.start()
    assert worker.is_running.wait(DEADLINE)
    supervisor.stop()
    running.join(DEADLINE)
    assert not running.is_alive() and worker.left <= 0


def test_a_worker_that_has_ended_is_not_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would connect to the source once more, seconds later."""
    worker = Deaf(1)
    supervisor = of(worker, monkeypatch, grace=600.0)
    running = threading.Thread(target=supervisor.run)
    running.start()
    assert worker.is_running.wait(DEADLINE)
    before = set(threading.enumerate())
    supervisor.stop()
    (timer,) = (found for found in set(threading.enumerate()) - before if isinstance(found, threading.Timer))
    timer.cancel()
    worker._may_end.set()
    running.join(DEADLINE)
    timer.function(*timer.args, **timer.kwargs)
    assert worker.left == 1
