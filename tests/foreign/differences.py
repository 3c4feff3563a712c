"""Differences between a run without the package and one with it, and those that are known and explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch

#: Suite and pattern of a test whose outcome may differ; docs/foreign-suites.md has the reason of each.
KNOWN: dict[str, tuple[str, ...]] = {
    "django": ("backends.base.test_base.ExecuteWrapperTests.test_wrapper_connection_specific",),
    "sqlalchemy-psycopg2": (
        "*::ExecutemanyValuesPlusBatchInsertsTest*::test_update_fallback",
        "*::InsertTest*::test_full_cursor_insertmanyvalues_sql*ss_sequence*",
    ),
    "django-tenants": ("django_tenants.tests.test_settings.TestSettings.test_PG_EXTRA_SEARCH_PATHS",),
}


def unexpected(suite: str, without: Mapping[str, str], with_ours: Mapping[str, str]) -> list[str]:
    """Return a line for each test that passes in one run only, unless it is known."""
    return [line for test, line in _differences(without, with_ours) if not is_known(suite, test)]


def is_known(suite: str, test: str) -> bool:
    """Return whether the documentation explains why the outcome of this test differs."""
    return any(fnmatch(test, pattern) for pattern in KNOWN.get(suite, ()))


def _differences(without: Mapping[str, str], with_ours: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for test in sorted({*without, *with_ours}):
        before, after = without.get(test, "not run"), with_ours.get(test, "not run")
        if before != after:
            yield test, f"{test}: {before} without the package, {after} with it"
