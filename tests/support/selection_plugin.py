"""Which tests a run takes: those of some roles, and those of a part."""

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
#: They are in the second part, where every optional library is as new as it can be.
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

#: The parts of the other integration tests, by the hashes of their files.
_SHARES = (*["first"] * 3, "third", "first", "second", "third", "third", "second", "second", "third")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--roles",
        choices=["with", "without"],
        help="with: run the integration tests not marked administrator as an owner of the tables, a worker "
        "and a reader, none of them a superuser; without: run all other tests",
    )
    parser.addoption(
        "--part",
        choices=["first", "second", "third"],
        help="run about a third of the tests; those of integration that depend on SQLAlchemy or the driver "
        "are in the first and in the second, all others but those of integration in the third",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of which no test is taken, unless it is named."""
    named = {Path(str(argument).partition("::")[0]).absolute() for argument in config.args}
    if not collection_path.match("test_*.py") or collection_path in named:
        return None
    is_taken = config.option.roles != "with" or _is_of_integration(collection_path)
    return None if is_taken and _is_of_part(collection_path, config.option.part) else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    roles, part = config.option.roles, config.option.part
    # Those of files that were named, too.
    others = [item for item in items if not (_is_of_roles(item, roles) and _is_of_part(item.path, part))]
    if others:
        config.hook.pytest_deselected(items=others)
        dropped = set(others)
        items[:] = [item for item in items if item not in dropped]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    chosen = session.config.option.roles or session.config.option.part
    if chosen and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        # All selected tests may be of the other kind.
        session.exitstatus = pytest.ExitCode.OK


def _is_of_roles(item: pytest.Item, roles: str | None) -> bool:
    needs_no_superuser = _is_of_integration(item.path) and item.get_closest_marker("administrator") is None
    return roles is None or needs_no_superuser == (roles == "with")


def _is_of_integration(file: Path) -> bool:
    return file.is_relative_to(TESTS / "integration")


@cache
def _is_of_part(file: Path, part: str | None) -> bool:
    return part is None or part in _parts(file)


def _parts(file: Path) -> tuple[str, ...]:
    if not _is_of_integration(file):
        return ("third",)
    if file in _IN_ONE:
        return ("second",)
    if any(map(file.is_relative_to, _IN_BOTH)) or _LIBRARIES.search(file.read_text()):
        return ("first", "second")
    # So all take the same time: the third part has the site, the servers and the unit tests, too.
    return (_SHARES[crc32(file.relative_to(TESTS).as_posix().encode()) % len(_SHARES)],)
