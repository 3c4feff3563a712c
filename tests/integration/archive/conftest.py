"""Fixtures of the tests of the archive."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from tests.support.old_months import old_months

#: Runs a subcommand of ``bemi`` and returns what it prints.
Bemi = Callable[..., str]


@pytest.fixture(autouse=True)
def months(transactional_db: None) -> Iterator[None]:
    with old_months():
        yield


@pytest.fixture
def bemi(tmp_path: Any, settings: Any) -> Bemi:
    """Run a subcommand with an archive in a directory of the test."""
    settings.BEMI_ARCHIVE = str(tmp_path / "archive")

    def run(*arguments: str) -> str:
        out = io.StringIO()
        call_command("bemi", *arguments, stdout=out)
        return out.getvalue()

    return run
