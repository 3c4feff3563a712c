from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace

from bemi_django import bound_context, get_context
from bemi_django.capture.context import current, inheritable

SPAN = trace.NonRecordingSpan(trace.SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False))
IDS = {"trace_id": "00000000000000000000000000000abc", "span_id": "0000000000000def"}


def test_the_active_span_is_in_the_context() -> None:
    with bound_context(user=7), trace.use_span(SPAN):
        assert current() == get_context() == {"user": 7, **IDS}
    assert get_context() == {}


def test_an_id_that_the_application_sets_is_kept() -> None:
    with bound_context(trace_id="mine"), trace.use_span(SPAN):
        assert current() == {**IDS, "trace_id": "mine"}


def test_a_span_is_not_handed_on() -> None:
    with bound_context(user=7), trace.use_span(SPAN):
        assert inheritable() == {"user": 7}


def test_a_span_that_is_none_is_left_out() -> None:
    with trace.use_span(trace.INVALID_SPAN):
        assert current() == {}


def test_without_the_library_there_is_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    with trace.use_span(SPAN):
        assert current() == {}


@pytest.mark.parametrize("code", ["pass", "import opentelemetry"])
def test_who_has_no_span_imports_nothing(code: str) -> None:
    code = f"""{code}
import sys
from bemi_django import get_context
assert get_context() == {{}} and "opentelemetry.trace" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
