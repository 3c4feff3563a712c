"""Which tests a run takes: those of some roles, and those of a half."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from zlib import crc32

import pytest

from tests.support.paths import TESTS

_LIBRARIES = re.compile(r"sqlalchemy|aldjemy|asyncpg", re.IGNORECASE)
_IN_BOTH = (TESTS / "integration/capture", TESTS / "integration/integrations")
#: Tests that name a library, or stand beside those that use one, and do the same whatever its version is.
#: They are in the second half, where every optional library is as new as it can be.
_IN_ONE = tuple(
    TESTS / name
    for name in (
        "e2e/test_readme.py",
        "integration/capture/test_commands.py",
        "integration/capture/test_outside.py",
        "integration/capture/test_requests.py",
        "integration/cli/test_cli.py",
        "integration/cli/test_page.py",
        "integration/ingest/rows/test_masking.py",
        "integration/integrations/test_api_frameworks.py",
        "integration/integrations/test_celery.py",
        "integration/integrations/test_django_tenants.py",
        "integration/integrations/test_log_name_without_django.py",
        "integration/integrations/test_rest_framework.py",
        "integration/log/test_instances.py",
        "integration/management/test_revert_and_blame_commands.py",
        "integration/schema/test_impostors.py",
        "integration/schema/test_installers.py",
        "integration/schema/test_other_tools.py",
        "integration/test_checks.py",
        "integration/test_page_examples.py",
    )
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--roles",
        choices=["with", "without"],
        help="with: run the integration tests not marked administrator as an owner of the tables, a worker "
        "and a reader, none of them a superuser; without: run all other tests",
    )
    parser.addoption(
        "--half",
        choices=["first", "second"],
        help="first: run about half of the integration tests, and those of the site and the servers; second: "
        "run the others and the unit tests; in both, those that depend on SQLAlchemy or on the driver",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of which no test is taken, unless it is named."""
    named = {Path(str(argument).partition("::")[0]).absolute() for argument in config.args}
    if not collection_path.match("test_*.py") or collection_path in named:
        return None
    is_taken = config.option.roles != "with" or _is_of_integration(collection_path)
    return None if is_taken and _is_of_half(collection_path, config.option.half) else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    roles, half = config.option.roles, config.option.half
    # Those of files that were named, too.
    others = [item for item in items if not (_is_of_roles(item, roles) and _is_of_half(item.path, half))]
    if others:
        config.hook.pytest_deselected(items=others)
        dropped = set(others)
        items[:] = [item for item in items if item not in dropped]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    chosen = session.config.option.roles or session.config.option.half
    if chosen and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        # All selected tests may be of the other kind.
        session.exitstatus = pytest.ExitCode.OK


def _is_of_roles(item: pytest.Item, roles: str | None) -> bool:
    needs_no_superuser = _is_of_integration(item.path) and item.get_closest_marker("administrator") is None
    return roles is None or needs_no_superuser == (roles == "with")


def _is_of_integration(file: Path) -> bool:
    return file.is_relative_to(TESTS / "integration")


@cache
def _is_of_half(file: Path, half: str | None) -> bool:
    if half is None:
        return True
    if file in _IN_ONE or file.is_relative_to(TESTS / "unit"):
        return half == "second"
    if any(map(file.is_relative_to, _IN_BOTH)) or _LIBRARIES.search(file.read_text()):
        return True
    if not _is_of_integration(file) or file.stem == "test_postgres_server":
        return half == "first"
    number = crc32(file.relative_to(TESTS).as_posix().encode())
    # The first half has the site and the servers, the second the unit tests: so both take the same time.
    return half == ("first" if number % 11 < 5 else "second")
