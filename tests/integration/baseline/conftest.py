"""Fixtures of the tests of baselines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pipeline import Pipeline
from tests.support.project_database import execute


@pytest.fixture(autouse=True)
def forgotten(pipeline: Pipeline) -> Iterator[None]:
    """Forget which tables were read."""
    yield
    execute("DELETE FROM _bemi.baselines")
    execute("DELETE FROM _bemi.baseline_rows")
