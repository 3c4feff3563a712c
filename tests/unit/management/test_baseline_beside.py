"""``bemi run --baseline``: what could not be read is said once and tried again, until the worker ends."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from bemi_django.baseline.baseline import BaselineOptions
from bemi_django.baseline.baselined import Baselined
from bemi_django.management.baseline.named_sink import NamedSink
from bemi_django.management.worker import baseline_beside
from tests.support.polling import until

_LOCKED = Baselined("public.a", failure="somebody has locked it")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each run of the baseline finds, or is ended by; those that have come are taken away."""
    found: list[Any] = []

    def baseline(_: object, options: BaselineOptions) -> Any:
        if not found:
            options.sleep(60)
        one = found.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    monkeypatch.setattr(baseline_beside, "sink_of", lambda *_: NamedSink("bemi_a", ""))
    monkeypatch.setattr(baseline_beside, "worker_config", lambda *_: SimpleNamespace(slot="bemi_a"))
    monkeypatch.setattr(baseline_beside, "operator_context", lambda *_: {})
    monkeypatch.setattr(baseline_beside._Recorder, "_wait_for_beginning", lambda *_: None)
    monkeypatch.setattr(baseline_beside, "baseline", baseline)
    monkeypatch.setattr(baseline_beside, "_FIRST_PAUSE", 0.001)
    return found


def test_it_is_tried_again_until_all_tables_were_read(
    runs: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    runs += [[_LOCKED], [_LOCKED], psycopg2.OperationalError("away"), [Baselined("public.a", was_there=True)]]
    with baseline_beside.recording_baseline("default", None):
        until(lambda: not runs)
    assert [record.message for record in caplog.records] == [
        "baseline of public.a: somebody has locked it",
        "the baseline was interrupted, and will go on: away",
    ]


def test_it_ends_with_the_worker(runs: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with baseline_beside.recording_baseline("default", None):
        pass
    assert "default baseline" not in [thread.name for thread in threading.enumerate()]
    assert not caplog.records


def test_an_error_that_nobody_expects_is_told(runs: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    runs.append(RuntimeError("a value of a row"))
    with baseline_beside.recording_baseline("default", None):
        until(lambda: caplog.records)
    assert caplog.messages == ["the baseline has ended (RuntimeError): run 'manage.py bemi baseline'"]
