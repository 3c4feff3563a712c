"""What tox would run by mistake."""

from __future__ import annotations

import re

from tests.support.paths import ROOT


def test_no_line_with_a_condition_is_continued() -> None:
    """In environments that do not meet it, tox drops the line and takes what continues it for a command."""
    conditional = re.compile(r"\s+!?[a-z0-9,!-]+: .*\\\n")
    lines = (ROOT / "tox.ini").read_text().splitlines(keepends=True)
    assert [line for line in lines if conditional.fullmatch(line)] == []
