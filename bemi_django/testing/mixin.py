"""A mixin for test cases."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from bemi_django.testing.expectations import Expected, assert_changes
from bemi_django.testing.recorded_changes import RecordedChanges
from bemi_django.testing.writes import CapturedWrite, captured_writes


class ChangesMixin:
    """Adds the helpers to a ``TestCase``; ``assert_changes()`` needs a ``TransactionTestCase``."""

    def assert_changes(
        self, *expected: Expected, context: Mapping[str, Any] | None = None, using: str = "default"
    ) -> AbstractContextManager[RecordedChanges]:
        """Assert that a block commits these changes; see :func:`bemi_django.testing.assert_changes`."""
        return assert_changes(*expected, context=context, using=using)

    def captured_writes(self, using: str = "default") -> AbstractContextManager[list[CapturedWrite]]:
        """Collect the writes of a block; see :func:`bemi_django.testing.captured_writes`."""
        return captured_writes(using)
