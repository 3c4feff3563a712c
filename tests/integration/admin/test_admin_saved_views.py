"""Filters of the list are saved under a name, shared with others, and the list may begin with one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bemi_django.admin.display.site_time import today
from bemi_django.models import AlertRule, SavedView
from bemi_django.schema import tenancy
from tests.support.audit import LIST, record, visitor

VIEWS = f"{LIST}views/"
VIEW, SHARE = "bemi_django.view_change", "bemi_django.share_savedview"


@pytest.fixture
def ann(db: None) -> Client:
    return visitor(VIEW, SHARE)


@pytest.fixture
def bob(db: None) -> Client:
    return visitor(VIEW, name="bob")


def save(client: Client, query: str = "operation=DELETE", name: str = "Losses", **fields: Any) -> Any:
    return client.post(VIEWS, {"query": query, "name": name, **fields})


def links(client: Client, query: str = "?view=actions") -> list[tuple[str, bool]]:
    found = client.get(f"{LIST}{query}").context.get("saved_views", [])
    return [(link.label, link.is_chosen) for link in found]


def view_of(name: str) -> SavedView:
    return SavedView.objects.get(name=name)


def edit(client: Client, view: str, /, **fields: Any) -> Any:
    return client.post(f"{VIEWS}{view_of(view).pk}/", fields)


def test_the_filters_of_the_list_are_saved_and_opened(ann: Client) -> None:
    record(1, operation="DELETE")
    record(2)
    shown = ann.get(f"{LIST}?operation=DELETE&view=rows&user=")
    form = shown.context["new_view"]
    assert "Save this view" in shown.content.decode() and links(ann) == []
    response = ann.post(VIEWS, {"query": form["query"].value(), "name": "Losses"}, follow=True)
    assert "The view “Losses” was saved." in response.content.decode()
    assert response.redirect_chain == [(f"{LIST}?operation=DELETE&view=rows", 302)]
    assert [row.change.operation for row in response.context["rows"]] == ["DELETE"]
    assert links(ann, "?view=rows&operation=DELETE") == [("All changes", False), ("Losses", True)]
    assert links(ann) == [("All changes", True), ("Losses", False)]
    # What is saved already need not be saved.
    assert "Save this view" not in response.content.decode()
    assert "Save this view" not in ann.get(f"{LIST}?view=actions").content.decode()


def test_a_view_of_the_same_name_gets_other_filters_and_stays_shared(ann: Client) -> None:
    save(ann, is_shared="on")
    response = ann.post(VIEWS, {"query": "table=todo", "name": "Losses"}, follow=True)
    assert "The view “Losses” has these filters now." in response.content.decode()
    (view,) = SavedView.objects.all()
    assert (view.query, view.is_shared) == ("table=todo", True)


def test_own_views_come_first_and_those_of_others_only_if_they_are_shared(ann: Client, bob: Client) -> None:
    save(ann, name="Ann's own")
    save(ann, "table=todo", "All of us", is_shared="on")
    save(bob, "table=tag", "Zero")
    assert [label for label, _chosen in links(bob)] == ["All changes", "Zero", "All of us"]
    assert [label for label, _chosen in links(ann)] == ["All changes", "All of us", "Ann's own"]
    page = bob.get(VIEWS).content.decode()
    assert "shared by ann" in page and "Ann&#x27;s own" not in page
    for fields in ({"name": "Mine"}, {"delete": "1"}, {"is_default": "on"}):
        assert edit(bob, "Ann's own", **fields).status_code == 404
    assert view_of("Ann's own").default_of == []


def test_sharing_takes_a_permission(ann: Client, bob: Client) -> None:
    save(bob, name="Bob's", is_shared="on")
    edit(bob, "Bob's", name="Bob's", is_shared="on")
    assert not view_of("Bob's").is_shared and b"is_shared" not in bob.get(VIEWS).content
    save(ann, name="Ours", is_shared="on")
    # Without it, what is shared can be chosen, and not changed.
    assert edit(bob, "Ours", name="Bob's too", is_default="on").status_code == 302
    assert view_of("Ours").default_of == [bob.session["_auth_user_id"]]
    assert edit(bob, "Ours", delete="1").status_code == 403
    carl = visitor(VIEW, SHARE, name="carl")
    edit(carl, "Ours", name="Everybody's", is_shared="on")
    assert view_of("Everybody's").owner == ann.session["_auth_user_id"]
    edit(carl, "Everybody's", delete="1")
    assert [view.name for view in SavedView.objects.all()] == ["Bob's"]


def test_the_list_begins_with_the_default(ann: Client, bob: Client) -> None:
    save(ann, is_default="on", is_shared="on")
    save(ann, "table=todo", "Todos")
    assert ann.get(LIST)["Location"] == f"{LIST}?operation=DELETE"
    assert bob.get(LIST).status_code == 200
    edit(bob, "Losses", is_default="on")
    assert bob.get(LIST)["Location"] == f"{LIST}?operation=DELETE"
    edit(ann, "Todos", name="Todos", is_default="on")
    assert ann.get(LIST)["Location"] == f"{LIST}?table=todo"
    assert view_of("Losses").default_of == [bob.session["_auth_user_id"]]
    # All changes are a click away from there: no link leads back to the default.
    page = ann.get(f"{LIST}?table=todo")
    assert page.context["clear"] == "?view=actions" and [chip.query for chip in page.context["chips"]] == [
        "?view=actions"
    ]
    assert ann.get(f"{LIST}?view=actions").status_code == 200
    # It is nobody else's any more when it is not shared.
    edit(ann, "Losses", name="Losses")
    assert bob.get(LIST).status_code == 200
    edit(ann, "Todos", name="Todos")
    assert ann.get(LIST).status_code == 200


def test_a_view_is_renamed_unless_the_name_is_taken(ann: Client) -> None:
    save(ann)
    save(ann, "table=todo", "Todos")
    response = edit(ann, "Losses", name="Todos")
    assert "There is a view of this name already." in response.content.decode()
    assert edit(ann, "Losses", name="").status_code == 200
    assert edit(ann, "Losses", name="Deletions").status_code == 302
    assert {view.name for view in SavedView.objects.all()} == {"Deletions", "Todos"}
    response = ann.post(f"{VIEWS}{view_of('Todos').pk}/", {"delete": "1"}, follow=True)
    assert "The view “Todos” was deleted." in response.content.decode()


def test_what_cannot_be_saved_is_said(ann: Client) -> None:
    refused: list[dict[str, str]] = [
        {"query": ""},
        {"query": "older=x&unknown=1"},
        {"query": "since=yesterday"},
        {"query": "operation=DELETE\0"},
        {"query": "q=" + "a" * 20_000},
        {"name": ""},
        {"name": "a" * 101},
        {"name": "a\0"},
    ]
    for fields in refused:
        response = save(ann, **{"query": "operation=DELETE", **fields})
        assert response.status_code == 200 and "errorlist" in response.content.decode(), fields
    assert not SavedView.objects.exists()


def test_what_a_view_shows_is_decided_when_it_is_opened(ann: Client, settings: Any) -> None:
    record(1, table="todo")
    record(2, table="tag")
    save(ann, "q=pk:1", "First", is_shared="on")
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.scope"
    response = visitor(VIEW, name="carl").get(f"{LIST}{opened(ann, 'First')}&view=rows")
    assert [row.change.table for row in response.context["rows"]] == ["tag"]
    # A search for masked values is refused to those who may not see them.
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    unmasked = visitor(VIEW, SHARE, "bemi_django.unmask_change", name="dora")
    save(unmasked, "q=task:Sleep", "Sleepers", is_shared="on")
    assert not save(ann, "q=task:Sleep", "Mine").has_header("Location")
    response = ann.get(f"{LIST}{opened(ann, 'Sleepers')}")
    assert "You may not search the values of" in response.content.decode()


def opened(client: Client, name: str) -> str:
    found = client.get(f"{LIST}?view=actions").context["saved_views"]
    return str(next(link.url for link in found if link.label == name).partition(LIST)[2])


def scope(request: Any, changes: Any) -> Any:
    return changes.filter(table="tag")


def test_named_days_move_with_the_calendar(ann: Client) -> None:
    present = today()
    week = f"since={present - timedelta(days=6)}&until={present}"
    save(ann, week, "Week")
    save(ann, f"since={present}&until={present}", "Today")
    save(ann, "since=2026-01-02&until=2026-01-03", "Then")
    assert view_of("Week").query == "since=today-6&until=today-0"
    assert opened(ann, "Week") == f"?{week}"
    assert opened(ann, "Then") == "?since=2026-01-02&until=2026-01-03"
    SavedView.objects.filter(name="Today").update(query="since=today-1&until=today-1")
    yesterday = present - timedelta(days=1)
    assert opened(ann, "Today") == f"?since={yesterday}&until={yesterday}"


def test_an_alert_is_made_of_a_view(db: None, settings: Any) -> None:
    settings.BEMI_ALERTS = True
    client = visitor(VIEW, "bemi_django.add_alertrule", "bemi_django.change_alertrule")
    save(client, f"operation=DELETE&since={today()}&until={today()}", "Losses")
    (listed,) = client.get(VIEWS).context["saved_views"]
    assert (listed.period, len(listed.filters)) == ("Today", 1)
    given = parse_qs(urlsplit(listed.alert_url).query)
    assert given == {"kind": ["filter"], "name": ["Losses"], "filter": ["operation=DELETE"]}
    assert (
        parse_qs(urlsplit(client.get(f"{LIST}{opened(client, 'Losses')}").context["alert_url"]).query)
        == given
    )
    # In the form of the rule, it can be chosen by name.
    rule = {"name": "L", "is_active": "on", "kind": "filter", "threshold": "1000", "channel": "mail"}
    rule |= {"recipients": "ann@example.com", "saved_view": str(view_of("Losses").pk)}
    address = "/admin/bemi_django/alertrule/add/"
    assert client.post(address, rule).status_code == 302
    assert AlertRule.objects.get().filter == "operation=DELETE"
    other = visitor(VIEW, "bemi_django.add_alertrule", name="bob")
    assert "saved_view" in other.post(address, rule).context["adminform"].form.errors


def test_the_page_asks_as_much_for_many_views_as_for_few(ann: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert ann.get(VIEWS).status_code == 200
        return len(found)

    record(1)
    query = "table=todo&user=7&not_user=8&endpoint="
    save(ann, f"{query}0", "V0")
    few = queries()
    for number in range(1, 6):
        save(ann, f"{query}{number}", f"V{number}")
    assert queries() == few


def test_who_may_not_see_changes_sees_no_views(ann: Client, db: None) -> None:
    save(ann, is_shared="on")
    blind = visitor(SHARE, name="blind")
    assert blind.get(VIEWS).status_code == 403 and save(blind).status_code == 403
    assert ann.get(f"{VIEWS}{view_of('Losses').pk}/").status_code == 404
    assert Client().get(VIEWS).status_code == 302


def test_tenants_do_not_see_each_other_s_views(ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    save(ann, is_shared="on")
    monkeypatch.setattr(tenancy, "has_tenants", lambda alias: alias == "default")
    monkeypatch.setattr(connection, "schema_name", "red", raising=False)
    assert ann.get(VIEWS).context["saved_views"] == []
    save(ann)
    assert len(ann.get(VIEWS).context["saved_views"]) == 1
    assert sorted(SavedView.objects.values_list("tenant", flat=True)) == ["", "red"]
