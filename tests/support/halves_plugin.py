"""Halves of the tests, for two runs with other libraries: what depends on the libraries is in both."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from zlib import crc32

import pytest

from tests.support.paths import TESTS

_LIBRARIES = re.compile(r"sqlalchemy|aldjemy|asyncpg", re.IGNORECASE)
_IN_BOTH = (TESTS / "integration/capture", TESTS / "integration/integrations")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--half",
        choices=["first", "second"],
        help="first: run about half of the integration tests, and those of the site and the servers; second: "
        "run the others and the unit tests; in both, those that depend on SQLAlchemy or on the driver",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if half := config.option.half:
        others = [item for item in items if half not in _halves(item.path)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if half in _halves(item.path)]


@cache
def _halves(file: Path) -> tuple[str, ...]:
    """Return the halves that the tests of a file belong to."""
    if any(file.is_relative_to(folder) for folder in _IN_BOTH) or _LIBRARIES.search(file.read_text()):
        return ("first", "second")
    if file.is_relative_to(TESTS / "unit"):
        return ("second",)
    if not file.is_relative_to(TESTS / "integration") or "/test_postgres_server" in file.as_posix():
        return ("first",)
    number = crc32(file.relative_to(TESTS).as_posix().encode())
    return ("first",) if number % 2 else ("second",)
