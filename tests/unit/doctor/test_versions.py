"""Versions of the server that are known for an error."""

from __future__ import annotations

import pytest

from bemi_django.doctor.versions import of_version


@pytest.mark.parametrize(
    ("number", "mended"),
    [
        (140003, "14.4"), (140004, ""), (140018, "14.19"), (150012, ""), (150013, "15.14"), (160009, "16.10"),
        (160010, ""), (170004, ""), (170005, "17.6"), (170006, ""), (180000, ""), (190000, ""),
    ],
)  # fmt: skip
def test_a_version_with_an_error_names_the_one_without_it(number: int, mended: str) -> None:
    found = list(of_version(number))
    assert [finding.remedy for finding in found] == [f"Upgrade it to {mended} or later."] * bool(mended)
    assert {finding.id for finding in found} <= {"bemi.D024"}
