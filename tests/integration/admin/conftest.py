"""The pages of the audit view take what time they need, so that a busy machine shows what others show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bemi_django.admin.search import action_search, archive_search, paging, query_timeouts, suggestions
from bemi_django.admin.search.hints import found_objects

HOUR = 3600.0


@pytest.fixture(autouse=True, scope="module")
def patience() -> Iterator[None]:
    """Let no search end early, unless a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (action_search, archive_search, paging):
            patch.setattr(module, "BUDGET_SECONDS", HOUR)
        for hints in (found_objects, suggestions):
            patch.setattr(hints, "_BUDGET", HOUR)
        for name in ("FILTER", "LOOKUP", "COUNT"):
            patch.setattr(query_timeouts, name, int(HOUR * 1000))
        yield
