"""Each line of the threat model in SECURITY.md is held by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tests_that_the_threat_model_names_exist() -> None:
    table = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")][1:]
    held = [re.findall(r"`(test_\w+)`", line.split("|")[-2]) for line in table if "nothing:" not in line]
    assert len(held) > 15 and all(held)
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    missing = [name for names in held for name in names if f"def {name}(" not in sources]
    assert missing == []
