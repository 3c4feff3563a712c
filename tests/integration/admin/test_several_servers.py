"""Lists of the changes of several servers, whose ids have no common order."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from bemi_django.admin.search import paging, query_plans
from bemi_django.admin.search.list_order import order_of_list
from bemi_django.models import Change
from bemi_django.schema.log_settings import indexes
from tests.support.audit import LIST, as_rows, listed, record
from tests.support.project_database import execute

CHECKPOINT = """
INSERT INTO _bemi.checkpoint
    (slot, lsn, start_lsn, committed_at, start_xid, system_identifier, timeline, publication)
VALUES (%s, '0/1', '0/1', now(), 1, %s, 1, 1)
"""
FIRST = datetime(2026, 3, 10, tzinfo=timezone.utc)


def begin(*servers: str) -> None:
    """Make a log that reads these servers, some by more than one slot."""
    for number, server in enumerate(servers):
        execute(CHECKPOINT, [f"slot{number}", server])


def record_both(count: int) -> list[int]:
    """Record changes of a server with a high position and of one with a low one; return their order."""
    chance = random.Random(count)
    numbers = [*range(1, count + 1), *range(100_001, 100_001 + count)]
    moments: dict[int, datetime] = {}
    for numbers_of_one in (numbers[:count], numbers[count:]):
        moment = FIRST
        for number in numbers_of_one:
            # Some have the time of another one, of the same server or of the other.
            moment += timedelta(seconds=chance.choice([0, 0, 1, 2]))
            moments[number] = moment
    for number in chance.sample(numbers, len(numbers)):
        record(number, committed_at=moments[number])
    return sorted(numbers, key=lambda number: (moments[number], number))


def walk(client: Client, query: str, direction: str) -> list[list[int]]:
    """Return the pages from a query on, in one direction."""
    pages = []
    while True:
        response = client.get(f"{LIST}{query if 'view=' in query else as_rows(query)}")
        pages.append([row.change.position // 8 for row in response.context["rows"]])
        if response.context[direction] is None:
            return pages
        query = response.context[direction]


@pytest.mark.parametrize("query", ["", "?operation=UPDATE", "?q=task:Sleep"])
def test_no_server_hides_another_from_a_page(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 17)
    begin("one", "other")
    expected = record_both(80)[::-1]
    pages = walk(admin_client, query, "older")
    assert [number for page in pages for number in page] == expected
    assert len({number > 100_000 for number in pages[0]}) == 2
    oldest = Change.objects.order_by("committed_at", "id").first()
    assert oldest is not None
    sign = "&" if query else "?"
    back = walk(admin_client, f"{query}{sign}newer={oldest.pk}", "newer")
    assert [number for page in reversed(back) for number in page] == expected[:-1]


def test_a_search_back_from_a_date_begins_there(admin_client: Client) -> None:
    begin("one", "other")
    record(100_001, committed_at=FIRST - timedelta(hours=1))
    record(1, committed_at=FIRST - timedelta(hours=2))
    record(2, committed_at=FIRST + timedelta(hours=1))
    record(100_002, committed_at=FIRST + timedelta(hours=2))
    assert listed(admin_client, "?until=2026-03-09") == [100_001, 1]
    assert listed(admin_client) == [100_002, 2, 100_001, 1]


def test_a_page_that_begins_at_a_removed_change_is_the_newest_one(admin_client: Client) -> None:
    begin("one", "other")
    gone, kept = record(1), record(100_001)
    key = gone.pk
    gone.delete()
    assert listed(admin_client, f"?older={key}") == [kept.position // 8]


@pytest.mark.parametrize("servers", [[], ["one"], ["one", "one"]])
def test_changes_of_one_server_are_in_the_order_of_commits(admin_client: Client, servers: list[str]) -> None:
    begin(*servers)
    # The clock was set back.
    for number in (1, 2, 3):
        record(number, committed_at=FIRST - timedelta(seconds=number))
    assert listed(admin_client) == [3, 2, 1]


def test_an_export_has_the_order_of_the_list(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begin("one", "other")
    expected = record_both(30)
    response: Any = admin_client.get(f"{LIST}export/?format=jsonl")
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert [json.loads(line)["position"] // 8 for line in lines] == expected


def test_the_list_of_several_servers_has_an_index(db: None) -> None:
    begin("one")
    assert list(indexes.sync("default", dry_run=False)) == []
    execute(CHECKPOINT, ["other", "other"])
    assert list(indexes.sync("default", dry_run=False)) == ["index: changes_time"]
    order = order_of_list()
    change = record(1)
    place = order.place(change.pk)
    assert place is not None
    changes = order.beyond(order.apply(Change.objects.all(), is_newer=False), place, is_newer=False)
    with query_plans.no_seqscan(enable_sort="off"):
        plan = changes[:51].explain()
    condition = "Index Cond: (ROW(committed_at, id) < ROW("
    assert condition in plan and "Sort" not in plan, plan
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM _bemi.checkpoint WHERE slot = 'other'")
    assert list(indexes.sync("default", dry_run=False)) == ["no index: changes_time"]


def test_the_querysets_have_both_orders(db: None) -> None:
    expected = record_both(10)
    assert [change.position // 8 for change in Change.objects.by_time()] == expected
    assert [change.position // 8 for change in Change.objects.by_time(newest_first=True)] == expected[::-1]
    assert [change.position // 8 for change in Change.objects.asc()] == sorted(expected)
