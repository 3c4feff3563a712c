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
    found = list(of_version(number, "default", is_source=True))
    assert len(found) == bool(mended)
    assert all(finding.remedy.startswith(f"Upgrade it to {mended} or later") for finding in found)
    assert {finding.id for finding in found} <= {"bemi.D024"}


def test_indexes_that_were_built_by_such_a_version_have_to_be_built_again() -> None:
    """In the database of the log as well, where nothing is decoded."""
    for is_source in (True, False):
        (found,) = of_version(140003, "log", is_source=is_source)
        assert found.message.startswith("The server of 'log' is PostgreSQL 14.3: an index that is built")
        assert found.remedy.startswith("Upgrade it to 14.4 or later, then build the indexes again: REINDEX ")
    assert not list(of_version(170005, "log", is_source=False))
