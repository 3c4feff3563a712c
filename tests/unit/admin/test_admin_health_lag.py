"""Nothing is green while nobody reads."""

from __future__ import annotations

import math
import re

import pytest

from bemi_django.admin.pages.health import health_sources
from bemi_django.ingest.rows.catalog.mask_catalog import MASKS_FAILED
from bemi_django.ingest.selection.condition import FAILED
from bemi_django.status.worker_status import NOT_RUNNING, RUNNING, WorkerStatus
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("state", "lag_bytes", "seconds", "grade"),
    [
        (RUNNING, 0, 0.0, "good"),
        (RUNNING, 5000, 0.2, "good"),
        (RUNNING, 5000, 31.0, "warning"),
        (RUNNING, 5000, 301.0, "bad"),
        (RUNNING, 5000, math.nan, "warning"),
        (NOT_RUNNING, 1, 0.0, "bad"),
        (NOT_RUNNING, 5000, math.nan, "bad"),
        (NOT_RUNNING, 10**12, 9999.0, "bad"),
    ],
)
def test_the_lag_has_the_colour_of_what_is_known(
    monkeypatch: pytest.MonkeyPatch, state: str, lag_bytes: int, seconds: float, grade: str
) -> None:
    status = WorkerStatus("bemi", state, None, "reserved", lag_bytes, seconds)
    monkeypatch.setattr(health_sources, "read_worker", lambda alias: status)
    monkeypatch.setattr(health_sources, "read_sealings", list)
    facts, _ = health_sources.source_facts("default", None)
    lag, worker = (next(fact for fact in facts if fact.label == label) for label in ("Lag", "Worker"))
    assert lag.state == grade and "nan" not in lag.value
    assert worker.state == ("good" if state == RUNNING else "bad")


def test_what_a_worker_counts_has_words_for_people() -> None:
    texts = [path.read_text() for path in (ROOT / "bemi_django" / "ingest").rglob("*.py")]
    counted = {what for text in texts for what in re.findall(r'counts\["([^"]+)"\]', text)}
    assert counted | {MASKS_FAILED, FAILED} == health_sources.EXCEPTIONS.keys()
    facts = health_sources._counters({"rows the long way (altered table)": 4, "dead letters": 2})
    assert [(fact.value, fact.hint) for fact in facts] == [("2", "dead letters: 2")]
    assert list(health_sources._counters({"rows the long way (altered table)": 4})) == []
