"""A worker that seals what it writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bemi_django import conf
from bemi_django.schema import tracking
from bemi_django.seals.findings import ChainReport
from bemi_django.seals.verify import verify_chains
from tests.integration.retention.conftest import RECORDS
from tests.support.old_months import old_months
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

SLOT = "bemi_seals"


def whole() -> ChainReport:
    """Verify the chains, of which nothing is wrong."""
    report = verify_chains()
    assert list(map(str, report.findings)) == []
    return report


@pytest.fixture
def sealing(transactional_db: None) -> Iterator[Pipeline]:
    """A pipeline that seals, on an empty log without any chain."""
    tracking.sync()
    execute("TRUNCATE changes")
    made = Pipeline.of_project(SLOT)
    made.config = made.config._replace(is_sealed=True)
    made.run()
    yield made
    made.drop()
    execute("TRUNCATE changes")
    for table in ("links", "chains"):
        execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own


@pytest.fixture
def old_log(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty log with two months of the past, and no chain."""
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    tracking.sync()
    execute("TRUNCATE changes")
    with old_months():
        yield
    execute("TRUNCATE changes")
    for table in (*RECORDS, "links", "chains"):
        execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own
