"""The list is filtered by time of day, and by links that many people want."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone as django_timezone

from tests.support.audit import LIST, listed, record, visitor


def links(client: Client, name: str, query: str = "") -> dict[str, tuple[str, bool]]:
    found = client.get(f"{LIST}{query}").context[name]
    return {link.label: (link.query, link.is_chosen) for link in found}


@pytest.fixture
def morning(db: None, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    for number, minute in enumerate((0, 30, 31, 59), start=1):
        # 8 o'clock in Berlin.
        record(number, committed_at=datetime(2025, 3, 5, 7, minute, 10, tzinfo=timezone.utc))
    record(5, committed_at=datetime(2025, 3, 5, 23, 30, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("since=2025-03-05&since_time=08:30&until=2025-03-05", [4, 3, 2]),
        ("since=2025-03-05&until=2025-03-05&until_time=08:30", [2, 1]),
        ("since=2025-03-05&since_time=08:31&until=2025-03-05&until_time=08:58", [3]),
        ("since=2025-03-05&until=9999-12-31&until_time=23:59", [5, 4, 3, 2, 1]),
        ("since=2025-03-05&since_time=23:00&until=2025-03-05", []),
    ],
)
def test_a_day_may_have_a_time(morning: None, admin_client: Client, query: str, numbers: list[int]) -> None:
    assert listed(admin_client, f"?{query}") == numbers
    # The list of actions begins at the end of the period.
    page = admin_client.get(f"{LIST}?{query}")
    assert sum(action.total for action in page.context["page"].actions) == len(numbers)


def test_a_time_needs_a_day(morning: None, admin_client: Client) -> None:
    for name in ("since", "until"):
        assert "Choose a day as well" in admin_client.get(f"{LIST}?{name}_time=08:30").content.decode()
    assert "Enter a valid time" in admin_client.get(f"{LIST}?since=2025-03-05&since_time=8x").content.decode()
    response = admin_client.get(f"{LIST}?since=2025-03-05&since_time=08:30&table=todo")
    chips = {chip.label: chip.query for chip in response.context["chips"]}
    assert {chip.value for chip in response.context["chips"]} == {"March 5, 2025", "08:30", "todos"}
    assert chips["From, time of day"] == "?since=2025-03-05&table=todo"
    # Without its day, there is no time.
    assert chips["From"] == "?table=todo"


def test_the_last_days_are_links(admin_client: Client) -> None:
    today = django_timezone.localdate()
    day, week = (today - timedelta(days=days) for days in (1, 6))
    found = links(admin_client, "dates", "?table=todo&since=2025-03-01&since_time=08:00&until=2025-03-31")
    assert found["Yesterday"] == (f"?table=todo&since={day}&until={day}", False)
    assert found["Last 7 days"] == (f"?table=todo&since={week}&until={today}", False)
    assert links(admin_client, "dates", found["Last 7 days"][0])["Last 7 days"][1]


def test_presets_are_set_and_taken_back(admin_client: Client) -> None:
    user = get_user_model().objects.get(username="admin")
    record(1, operation="DELETE", context={"user_id": user.pk})
    record(2, context={"user_id": user.pk + 1})
    record(3, context={"db_user": "postgres"})
    found = links(admin_client, "presets", "?since=2020-01-01")
    numbers = {label: listed(admin_client, query) for label, (query, _chosen) in found.items()}
    assert numbers == {"Outside the application": [3], "Deletions": [1], "My changes": [1]}
    query, is_chosen = links(admin_client, "presets", found["Deletions"][0])["Deletions"]
    assert is_chosen and query == "?since=2020-01-01"


@pytest.mark.django_db
def test_who_sees_no_users_has_no_changes_of_one_s_own(settings: Any) -> None:
    client = visitor("bemi_django.view_change")
    settings.BEMI_MASKED_FIELDS = ["auth_user.username"]
    query, _chosen = links(client, "presets")["My changes"]
    assert query == f"?user={get_user_model().objects.get().pk}"
    settings.BEMI_MASKED_FIELDS = ["context->user_id"]
    assert "My changes" not in links(client, "presets")
