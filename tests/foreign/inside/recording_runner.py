"""Django's test runner, which writes the outcome of each test and sets the context."""

from __future__ import annotations

import unittest
from typing import Any

from django.test.runner import DiscoverRunner

from tests.foreign.inside import outcomes
from tests.foreign.inside.hostile import enter_context


class RecordingResult(unittest.TextTestResult):
    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        outcomes.write(test.id(), "passed")

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        outcomes.write(test.id(), "failed")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        outcomes.write(test.id(), "failed")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            outcomes.write(test.id(), "failed")

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        outcomes.write(test.id(), "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        outcomes.write(test.id(), "passed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        outcomes.write(test.id(), "failed")


class RecordingRunner(DiscoverRunner):
    def run_suite(self, suite: Any, **kwargs: Any) -> Any:
        enter_context()
        return super().run_suite(suite, **kwargs)

    def get_resultclass(self) -> Any:
        return RecordingResult
