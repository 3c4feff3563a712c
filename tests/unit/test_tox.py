"""What tox would run by mistake."""

from __future__ import annotations

import re

from tests.support.paths import ROOT


def test_no_line_with_a_condition_is_continued() -> None:
    """In environments that do not meet it, tox drops the line and takes what continues it for a command."""
    conditional = re.compile(r"\s+!?[a-z0-9,!-]+: .*\\\n")
    lines = (ROOT / "tox.ini").read_text().splitlines(keepends=True)
    assert [line for line in lines if conditional.fullmatch(line)] == []


def test_every_test_with_a_number_of_blows_is_among_the_long_ones() -> None:
    given = re.search(r"--timeout 7200 \{posargs:([^}]*)\}", (ROOT / "tox.ini").read_text())
    assert given is not None
    named = [ROOT / one for one in given[1].split()]
    struck = [
        path.relative_to(ROOT)
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r'environ\.get\("BEMI_BLOWS"', path.read_text())
    ]
    missing = [path for path in struck if not any((ROOT / path).is_relative_to(one) for one in named)]
    assert not missing, "add them to [testenv:torture] in tox.ini"
    assert struck
