"""Changes are found by the groups of their users, by those who may know who is in them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, Permission
from django.core.cache import cache
from django.db import models
from django.test import Client
from django.test.utils import isolate_apps
from django.urls import reverse

from bemi_django.admin.search.people import groups
from bemi_django.alerts.saved_filter import narrowed, parameters_of, problem_of
from bemi_django.models import AlertRule, Change
from tests.integration.admin import test_admin_sites
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


@pytest.mark.parametrize(
    "masked", ["auth_group.name", "auth_user_groups.group_id", "auth_user.id", "context->user_id"]
)
def test_masked_groups_are_not_found_by_trying(settings: Any, masked: str) -> None:
    settings.BEMI_MASKED_FIELDS = [masked]
    reader = visitor(*KNOWS, name="reader")
    assert listed(reader, "?group=Stock") == []
    assert "Stock" not in reader.get(LIST).content.decode()


def test_groups_that_an_admin_hides_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class HidingAdmin(GroupAdmin):
        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).exclude(name="Stock")

    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, Group, HidingAdmin(Group, admin.site))
    reader = visitor(*KNOWS, name="reader")
    response = reader.get(f"{LIST}?view=rows")
    assert response.context["suggestions"]["groups"] == ["Support & sales"]
    assert "Stock" not in response.content.decode()
    assert listed(reader, "?group=Stock") == []
    assert "There is no group “Stock”." in reader.get(f"{LIST}?group=Stock").content.decode()
    assert listed(reader, "?group=Support+%26+sales") == [2, 1]
    assert "Stock" not in reader.get(f"{LIST}activity/").content.decode()


def test_groups_that_were_counted_are_forgotten_with_the_right_to_know_them(django_user_model: Any) -> None:
    reader = visitor(*KNOWS, name="reader")
    assert "Stock" in reader.get(f"{LIST}?view=rows").content.decode()
    user = django_user_model.objects.get_by_natural_key("reader")
    user.user_permissions.remove(Permission.objects.get(codename="view_group"))
    response = reader.get(f"{LIST}?view=rows")
    assert response.status_code == 200 and "Stock" not in response.content.decode()


@isolate_apps("django.contrib.contenttypes")
def test_what_a_project_calls_groups_need_be_no_model(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Member(models.Model):
        groups = models.JSONField(default=list)

        class Meta:
            app_label = "contenttypes"

        def __str__(self) -> str:
            return str(self.groups)

    monkeypatch.setattr(groups, "get_user_model", lambda: Member)
    response = admin_client.get(LIST)
    assert response.status_code == 200 and "group" not in response.context["form"].fields


@pytest.mark.urls("tests.support.audit_api")
def test_a_saved_filter_and_the_api_know_groups(admin_client: Client) -> None:
    assert parameters_of("?group=Stock&not_group=A&view=rows").urlencode() == "group=Stock&not_group=A"
    found = answer(admin_client, "changes/", group="Stock")
    assert [one["transaction_id"] for one in found["results"]] == [2]


@pytest.mark.parametrize("few", [50, 0], ids=["few", "many"])
def test_an_alert_finds_changes_of_a_group_as_its_owner_does(
    django_user_model: Any, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(groups, "_FEW", few)
    visitor(*KNOWS, name="reader")
    reader = django_user_model.objects.get_by_natural_key("reader")
    rule = AlertRule(
        kind=AlertRule.Kind.FILTER, filter="group=Support+%26+sales&not_group=Stock", owner=reader.pk
    )
    assert list(narrowed(Change.objects.all(), rule).values_list("transaction_id", flat=True)) == [1]
    reader.user_permissions.clear()
    assert not narrowed(Change.objects.all(), rule)


@pytest.mark.parametrize("wants", ["what a page has", "more"])
def test_an_alert_asks_an_admin_of_groups_as_a_page_does(
    django_user_model: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Any,
    wants: str,
) -> None:
    """Where it wants still more, the log says whose code failed, and nothing is found."""

    class CuriousAdmin(GroupAdmin):
        def get_queryset(self, request: Any) -> Any:
            rows = super().get_queryset(request)
            is_list = request.method == "GET" and request.resolver_match.url_name.endswith("_changelist")
            is_here = request.build_absolute_uri() == f"https://shop.example{LIST}"
            if wants == "more":
                return rows.filter(name__startswith=request.tenant)
            return rows if is_list and is_here and not request.session.get("tenant") else rows.none()

    settings.BEMI_SITE_URL = "https://shop.example"
    settings.ALLOWED_HOSTS = ["shop.example"]
    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, Group, CuriousAdmin(Group, admin.site))
    visitor(*KNOWS, name="reader")
    reader = django_user_model.objects.get_by_natural_key("reader")
    rule = AlertRule(kind=AlertRule.Kind.FILTER, filter="group=Stock", owner=reader.pk)
    found = list(narrowed(Change.objects.all(), rule).values_list("transaction_id", flat=True))
    assert found == ([] if wants == "more" else [2])
    assert ("CuriousAdmin.get_queryset() failed" in caplog.text) is (wants == "more")
    assert "Stock" not in caplog.text


def test_an_alert_asks_an_admin_as_a_page_of_its_own_site_does(
    django_user_model: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    class CuriousAdmin(GroupAdmin):
        def get_queryset(self, request: Any) -> Any:
            addresses.append((request.path, reverse("admin:index", current_app=request.current_app)))
            return super().get_queryset(request)

    addresses: list[tuple[str, str]] = []
    settings.ROOT_URLCONF = test_admin_sites.__name__
    site = test_admin_sites.partner_site
    monkeypatch.setattr(admin, "site", site)
    registry: dict[Any, Any] = site._registry
    monkeypatch.setitem(registry, Group, CuriousAdmin(Group, site))
    monkeypatch.setitem(registry, django_user_model, admin.ModelAdmin(django_user_model, site))
    visitor(*KNOWS, name="reader")
    reader = django_user_model.objects.get_by_natural_key("reader")
    rule = AlertRule(kind=AlertRule.Kind.FILTER, filter="group=Stock", owner=reader.pk)
    assert list(narrowed(Change.objects.all(), rule).values_list("transaction_id", flat=True)) == [2]
    assert set(addresses) == {("/partner/bemi_django/change/", "/partner/")}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("SESSION_ENGINE", "no.such", "ModuleNotFoundError"), ("BEMI_SITE_URL", "https://[x", "ValueError")],
)
def test_the_list_of_rules_says_why_a_filter_fails(
    admin_client: Client, settings: Any, name: str, value: str, error: str
) -> None:
    owner = admin_client.session["_auth_user_id"]
    rule = AlertRule(kind=AlertRule.Kind.FILTER, filter="group=Stock", owner=owner)
    assert problem_of(rule) == ""
    setattr(settings, name, value)
    assert problem_of(rule) == f"the filter fails: {error}"
    assert not narrowed(Change.objects.all(), rule)
