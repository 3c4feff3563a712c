"""A plugin of pytest that writes the outcome of each test and hooks every engine."""

from __future__ import annotations

from typing import Any

from tests.foreign.inside import outcomes
from tests.foreign.inside.hostile import CONTEXT, IS_OURS

if IS_OURS:
    from bemi_django import Bemi

    Bemi.set_context(CONTEXT)


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcomes.write(report.nodeid, report.outcome)
