"""The page of results has the latest findings of each topic, also of those that were measured elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.report import Findings, Table, Target
from tests.support.paths import ROOT

_PAGE = (ROOT / "bench" / "RESULTS.md").read_text()


@pytest.fixture(autouse=True)
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FOUND", tmp_path / "results.json")


def keep(title: str, number: str, *, is_met: bool) -> str:
    table = Table("Numbers", ["what", "how many"])
    table.add("all", number)
    claim = Target("as claimed", number, is_met)
    report.keep(title.lower(), Findings(title, [table], [claim]), 1.0, "python -m bench", "PostgreSQL")
    return report.render(["ingest", "scale"], _PAGE)


def test_sections_of_topics_that_were_not_measured_here_stay() -> None:
    assert report.render([], _PAGE) == _PAGE
    page = keep("Other", "1", is_met=True)
    assert page == _PAGE, "a topic that is not known any more has no section"


def test_a_topic_that_is_measured_again_replaces_its_section() -> None:
    page = keep("Ingest", "4711", is_met=False)
    assert "| Ingest | as claimed | 4711 | **no** |" in page and "| all | 4711 |" in page
    assert page.count("\n## Ingest\n") == 1 and "| Ingest | decoding at" not in page
    others = [line for line in _PAGE.splitlines() if line.startswith("| Trigger |")]
    assert others and all(line in page for line in others)
    page = keep("Ingest", "4712", is_met=True)
    assert "4711" not in page and page.count("4712") == 2
