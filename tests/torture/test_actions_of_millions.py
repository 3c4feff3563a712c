"""The list of actions of a log of five million changes: what its queries take in the database."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from tests.support.audit import LIST, visitor
from tests.support.large_log import fill
from tests.support.project_database import execute
from tests.support.spent_time import spent_on_queries, spread

CHANGES = int(os.environ.get("BEMI_ROWS", "0")) // 2
pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.skipif(not CHANGES, reason="BEMI_ROWS says how many changes there are: make torture"),
]

#: Milliseconds that all queries of a page together may take.
LIMIT = 200
FILTERS = (
    "", "table=todo", "table=ledger", "table=django_session", "operation=DELETE", "operation=GAP", "user=7",
    "user=399", "endpoint=/page/3/100/", "endpoint=/page/<id>/<id>/", "outside=on", "q=42", "q=request:r5000",
    "q=transaction:500000", "q=zzz", 'q=task:"new 77"', 'q=task="job 3"', "q=reason=none", "not_user=7",
    "not_table=todo", "table=todo&operation=DELETE&user=7", "records=on", "view=rows",
)  # fmt: skip


@pytest.fixture
def millions(db: None) -> Iterator[int]:
    for (name,) in execute("SELECT relid::regclass::text FROM pg_partition_tree('changes') WHERE level > 0"):
        execute(f"DROP TABLE {name}")
    yield fill(CHANGES)
    execute("TRUNCATE changes")


def test_every_list_of_actions_is_read_at_once(millions: int, settings: Any) -> None:
    may = ("bemi_django.view_change", "todos.view_todo", "todos.view_tag")
    slow: dict[str, float] = {}
    print(f"{millions:,} changes")  # noqa: T201 - it is what this is for
    for scope, client in ((None, visitor(*may)), ("models", visitor(*may, name="bob"))):
        settings.BEMI_ADMIN_SCOPE = scope
        for query in FILTERS:
            older = _measured(client, f"?{query}", slow)
            if older:
                _measured(client, older, slow)
    assert not slow


def _measured(client: Client, query: str, slow: dict[str, float]) -> str | None:
    """Measure a page, and return the query of the next one."""
    used, taken = [], []
    for _ in range(3):
        cache.clear()
        with spent_on_queries() as spent:
            page = client.get(f"{LIST}{query}")
        assert page.status_code == 200
        used.append(spent.processor)
        taken.append(spent.elapsed)
    print(f"{query}: {spread(used)} ms of the server's processor, {spread(taken)} ms elapsed")  # noqa: T201 - it is what this is for
    if statistics.median(used) > LIMIT:
        slow[query] = statistics.median(used)
    older: str | None = page.context["older"]
    return older
