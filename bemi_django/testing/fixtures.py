"""Fixtures of pytest: ``pytest_plugins = ["bemi_django.testing.fixtures"]`` in ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bemi_django.testing.recorded_changes import RecordedChanges


@pytest.fixture
def recorded_changes(transactional_db: None) -> Iterator[RecordedChanges]:
    """Record what the test commits: ``recorded_changes.changes()`` returns it."""
    with RecordedChanges() as recorded:
        yield recorded
