"""The list counts the values of its filters, includes one of them and leaves others out."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from bemi_django.admin.search import action_search, paging
from bemi_django.admin.search.hints import facets
from bemi_django.models import Change
from tests.support.audit import LIST, listed, record, record_many, visitor


@pytest.fixture(autouse=True)
def log(db: None) -> Any:
    cache.clear()
    user = get_user_model().objects.create_user("bob")
    for number in range(1, 4):
        record(number, context={"user_id": user.pk, "endpoint": "/a/"})
    record(4, operation="DELETE", table="tag", context={"user_id": 99_999, "endpoint": "/b/"})
    record(5, table="no_model", context={"user_id": ["x"], "endpoint": 5})
    record(6, context={"db_user": "postgres"})
    return user


def counted(client: Client, query: str = "") -> dict[str, list[tuple[str, str]]]:
    response = client.get(f"{LIST}{query}")
    assert response.status_code == 200
    found = response.context["facets"]
    return {facet.label: [value[:2] for value in facet.values] for facet in found.facets}


def test_values_are_counted(admin_client: Client) -> None:
    assert counted(admin_client) == {
        "User": [("bob", "3"), ("99999", "1")],
        "Model": [("todos", "4"), ("no_model", "1"), ("tags", "1")],
        "Operation": [("Update", "5"), ("Delete", "1")],
        "Endpoint": [("/a/", "3"), ("/b/", "1")],
    }
    # Of one value, there is nothing to choose.
    assert counted(admin_client, "?table=tag") == {}


def test_links_include_and_leave_out(admin_client: Client) -> None:
    response = admin_client.get(f"{LIST}?since=2020-01-01")
    links = {(f.label, value.label): value for f in response.context["facets"].facets for value in f.values}
    assert listed(admin_client, links["User", "bob"].include) == [3, 2, 1]
    assert listed(admin_client, links["User", "bob"].exclude) == [6, 5, 4]
    assert listed(admin_client, links["Model", "no_model"].include) == [5]
    assert listed(admin_client, links["Model", "todos"].exclude) == [5, 4]
    assert listed(admin_client, links["Operation", "Update"].exclude) == [4]
    assert listed(admin_client, links["Endpoint", "/b/"].exclude) == [6, 5, 3, 2, 1]
    assert parse_qsl(links["Model", "todos"].exclude[1:]) == [("since", "2020-01-01"), ("not_table", "todo")]
    assert "Leave out" in response.content.decode()


def test_what_is_left_out_is_chosen_and_can_be_taken_back(admin_client: Client) -> None:
    query = "?not_table=todo&not_table=tag&not_user=bob"
    response = admin_client.get(f"{LIST}{query}")
    assert [(chip.label, chip.value, chip.query) for chip in response.context["chips"]] == [
        ("User other than", "bob", "?not_table=todo&not_table=tag"),
        ("Model other than", "todos", "?not_table=tag&not_user=bob"),
        ("Model other than", "tags", "?not_table=todo&not_user=bob"),
    ]
    assert listed(admin_client, query) == [5]
    # The next search by the form leaves them out, too.
    assert '<input type="hidden" name="not_table" value="tag"' in response.content.decode()
    assert response.context["clear"] == "?view=actions"


@pytest.mark.parametrize(
    "query",
    ["?not_user=%00", "?" + "&".join(["not_table=a"] * 21), f"?not_endpoint=/x{'/<a>' * 2500}*"],
    ids=["NUL", "many", "long"],
)
def test_what_cannot_be_left_out_is_an_error(admin_client: Client, query: str) -> None:
    assert "cannot be left out" in admin_client.get(f"{LIST}{query}").content.decode()


def test_what_is_masked_is_neither_counted_nor_left_out(log: Any, settings: Any) -> None:
    client = visitor("bemi_django.view_change")
    assert "User" in counted(client)
    settings.BEMI_MASKED_FIELDS = ["context->user_id", "context->endpoint"]
    assert set(counted(client)) == {"Model", "Operation"}
    for query in (f"?not_user={log.pk}", "?not_endpoint=/a/"):
        assert listed(client, query) == []
        assert "You may not search" in client.get(f"{LIST}{query}").content.decode()
    # Names of users are values of a table.
    settings.BEMI_MASKED_FIELDS = ["auth_user.username"]
    assert counted(client)["User"] == [(str(log.pk), "3"), ("99999", "1")]


def scope(request: Any, changes: Any) -> Any:
    return changes.filter(table="todo")


def test_nothing_outside_the_scope_is_counted(admin_client: Client, settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.scope"
    assert counted(admin_client) == {}


def test_only_the_latest_changes_are_counted(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facets, "_COUNTED", 3)
    response = admin_client.get(LIST)
    assert response.context["facets"][1:] == (3, False)
    assert "Most frequent in the latest 3 changes" in response.content.decode()
    assert counted(admin_client)["Operation"] == [("Update", "2"), ("Delete", "1")]


def test_later_pages_count_nothing(admin_client: Client) -> None:
    record_many(60)
    cache.clear()
    response = admin_client.get(f"{LIST}?view=rows")
    older = response.context["older"]
    assert admin_client.get(f"{LIST}{older}").context["facets"] is None


@given(
    numbers=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=8),
    counted=st.integers(1, 20),
    window=st.integers(1, 6),
    query=st.sampled_from(["", "?operation=DELETE", "?operation=DELETE&user=bob", "?not_operation=DELETE"]),
)
@tried(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
def test_counted_changes_are_those_that_the_list_begins_with(
    log: Any, admin_client: Client, numbers: Any, counted: int, window: int, query: str
) -> None:
    Change.objects.all().delete()
    for number, (count, is_deleted) in enumerate(numbers, 1):
        for ordinal in range(count):
            operation = "DELETE" if is_deleted or ordinal % 2 else "UPDATE"
            record(number, ordinal=ordinal, operation=operation, context={"user_id": log.pk})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facets, "_COUNTED", counted)
        patch.setattr(action_search, "SIZE", 4)
        patch.setattr(action_search, "WINDOW", window)
        patch.setattr(paging, "FIRST_WINDOW", 3)
        patch.setattr(paging, "WINDOW", 7)
        cache.clear()
        fresh, cached = admin_client.get(f"{LIST}{query}"), admin_client.get(f"{LIST}{query}")
    assert fresh.context["facets"] == cached.context["facets"]
    for response in (fresh, cached):
        shown = [line.last.pk for line in response.context["actions"]]
        assert shown == [line.last.pk for line in fresh.context["actions"]]
        assert response.context["older"] == fresh.context["older"]


def test_a_list_does_not_search_twice(admin_client: Client) -> None:
    record_many(60)
    cache.clear()
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(f"{LIST}?not_table=tag&operation=UPDATE").context["facets"] is not None
    searches = [query["sql"] for query in queries if re.search(r"'UPDATE'.* ORDER BY .* LIMIT", query["sql"])]
    assert len(searches) == 1, searches
