"""A log of which some is removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bemi_django import conf
from bemi_django.retention.months import months
from bemi_django.schema import tracking
from tests.support.project_database import execute

NOW = datetime.now(timezone.utc)
RECORDS = ("completeness", "pruned", "prunings", "retention", "touched", "walked", "handlers", "activity")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def log(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The log, and what was noted of pruning, as they were when the test ends."""
    settings.BEMI_SLOT = "bemi_retention"
    settings.BEMI_RETENTION = {
        "default": "forever",
        "shop.Category": "30 days",
        "public.shop_product": "1 year",
    }
    # The tests may use one database only.
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    # The past needs a view of each table, also of those of other tests.
    tracking.sync()
    execute("TRUNCATE changes")
    yield
    execute("TRUNCATE changes")
    for table in RECORDS:
        execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own
    for month in months("default"):
        if month < ago(40):
            execute(f"DROP TABLE changes_{month:%Y_%m}")
