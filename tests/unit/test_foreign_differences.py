"""The comparison of two runs of a foreign suite."""

from __future__ import annotations

import pytest

from tests.foreign import differences
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("without", "with_ours", "expected"),
    [
        ({"a": "passed"}, {"a": "passed"}, []),
        ({"a": "failed"}, {"a": "failed"}, []),
        ({"a": "passed"}, {"a": "failed"}, ["a: passed without the package, failed with it"]),
        ({"a": "failed"}, {"a": "passed"}, ["a: failed without the package, passed with it"]),
        ({"a": "passed"}, {"a": "skipped"}, ["a: passed without the package, skipped with it"]),
        ({"a": "passed"}, {}, ["a: passed without the package, not run with it"]),
        ({}, {"a": "passed"}, ["a: not run without the package, passed with it"]),
        ({"known": "passed", "x": "passed"}, {"known": "failed", "x": "passed"}, []),
    ],
)
def test_each_difference_that_is_not_known_is_a_line(
    without: dict[str, str], with_ours: dict[str, str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "KNOWN", {"suite": ("kno*",)})
    assert differences.unexpected("suite", without, with_ours) == expected
    assert "known" not in "".join(differences.unexpected("other", {}, {}))


def test_the_reason_of_each_known_difference_is_documented() -> None:
    page = (ROOT / "docs/foreign-suites.md").read_text()
    for patterns in differences.KNOWN.values():
        for pattern in patterns:
            assert f"`{pattern}`" in page, f"say in docs/foreign-suites.md why {pattern} differs"
