"""Changes are found by the groups of their users, by those who may know who is in them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import Client

from bemi_django.admin.search.people import groups
from bemi_django.alerts.saved_filter import parameters_of
from tests.support.audit import LIST, listed, record, visitor
from tests.support.audit_api import answer

KNOWS = ("bemi_django.view_change", "auth.view_user", "auth.view_group")


@pytest.fixture(autouse=True)
def people(db: None, django_user_model: Any) -> dict[str, Any]:
    cache.clear()
    found = {name: django_user_model.objects.create_user(name) for name in ("ann", "bob", "cy", "dan")}
    support, stock = (Group.objects.create(name=name) for name in ("Support & sales", "Stock"))
    for name in ("ann", "bob"):
        found[name].groups.add(support)
    found["bob"].groups.add(stock)
    record(1, context={"user_id": found["ann"].pk})
    record(2, context={"user_id": str(found["bob"].pk)})
    record(3, context={"user_id": found["cy"].pk})
    record(4, context={"db_user": "postgres"})
    record(5, context={"user_id": None})
    return found


@pytest.mark.parametrize("few", [50, 0], ids=["few", "many"])
def test_changes_of_a_group_are_found_and_left_out(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(groups, "_FEW", few)
    assert listed(admin_client, "?group=Support+%26+sales") == [2, 1]
    assert listed(admin_client, "?group=Stock&user=bob") == [2]
    assert listed(admin_client, "?group=Stock&group=Support+%26+sales&not_user=bob") == [1]
    assert listed(admin_client, "?not_group=Stock") == [5, 4, 3, 1]
    assert listed(admin_client, "?not_group=Stock&not_group=Support+%26+sales") == [5, 4, 3]


def test_a_group_of_nobody_has_no_changes(admin_client: Client) -> None:
    Group.objects.create(name="Empty")
    assert listed(admin_client, "?group=Empty") == []
    assert listed(admin_client, "?not_group=Empty") == [5, 4, 3, 2, 1]


def test_groups_are_suggested_counted_and_chosen(admin_client: Client) -> None:
    context = admin_client.get(f"{LIST}?view=rows").context
    assert context["suggestions"]["groups"] == ["Support & sales", "Stock"]
    (facet,) = (one for one in context["facets"].facets if one.label == "Group")
    assert [value[:2] for value in facet.values] == [("Support & sales", "2"), ("Stock", "1")]
    assert listed(admin_client, facet.values[0].include) == [2, 1]
    assert listed(admin_client, facet.values[0].exclude) == [5, 4, 3]
    response = admin_client.get(f"{LIST}?group=Stock&not_group=Support+%26+sales")
    chips = [(chip.label, chip.value, chip.query) for chip in response.context["chips"]]
    assert chips == [
        ("Group", "Stock", "?not_group=Support+%26+sales"),
        ("Group other than", "Support & sales", "?group=Stock"),
    ]
    assert '<option value="Stock"></option>' in response.content.decode()


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("group=Nobody", "There is no group “Nobody”."),
        ("not_group=Nobody", "There is no group “Nobody”."),
        ("group=Support+%26+sales", "has too many members."),
    ],
)
def test_a_group_that_cannot_be_searched_is_an_error(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, query: str, problem: str
) -> None:
    monkeypatch.setattr(groups, "_MOST", 1)
    assert listed(admin_client, f"?{query}") == []
    assert problem in admin_client.get(f"{LIST}?{query}").content.decode()


@pytest.mark.parametrize("missing", KNOWS[1:])
def test_groups_are_known_to_those_who_may_view_them(missing: str) -> None:
    reader = visitor(*(one for one in KNOWS if one != missing), name="reader")
    response = reader.get(LIST)
    assert "group" not in response.context["form"].fields
    assert response.context["suggestions"]["groups"] == []
    assert "Stock" not in response.content.decode()
    for query in ("?group=Stock", "?group=Nobody", "?not_group=Stock"):
        assert listed(reader, query) == []
        assert "You may not search by group." in reader.get(f"{LIST}{query}").content.decode()


@pytest.mark.parametrize("masked", ["auth_group.name", "context->user_id"])
def test_masked_groups_are_not_found_by_trying(settings: Any, masked: str) -> None:
    settings.BEMI_MASKED_FIELDS = [masked]
    reader = visitor(*KNOWS, name="reader")
    assert listed(reader, "?group=Stock") == []
    assert "Stock" not in reader.get(LIST).content.decode()


@pytest.mark.urls("tests.support.audit_api")
def test_a_saved_filter_and_the_api_know_groups(admin_client: Client) -> None:
    assert parameters_of("?group=Stock&not_group=A&view=rows").urlencode() == "group=Stock&not_group=A"
    found = answer(admin_client, "changes/", group="Stock")
    assert [one["transaction_id"] for one in found["results"]] == [2]
