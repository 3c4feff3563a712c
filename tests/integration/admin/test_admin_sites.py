"""Admin sites with and without the audit trail, and tenants that share a cache."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from django.contrib.admin import AdminSite, ModelAdmin, site
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.checks import run_checks
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import include, path, resolve

from bemi_django.admin import ChangeAdmin
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.audit import LIST, record

plain_site = AdminSite(name="plain")
plain_site.register(Todo, ModelAdmin)
partner_site = AdminSite(name="partner")
partner_site.register(Todo, ModelAdmin)
partner_site.register(Change, ChangeAdmin)
other_site = AdminSite(name="other_model_admin")
other_site.register(Todo, ModelAdmin)
other_site.register(Change, ModelAdmin)

urlpatterns = [
    path("plain/", plain_site.urls),
    path("partner/", partner_site.urls),
    path("other/", other_site.urls),
]


@pytest.fixture
def several(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def beside_the_default(settings: Any) -> Iterator[None]:
    urlpatterns.append(path("admin/", site.urls))
    settings.ROOT_URLCONF = __name__
    yield
    urlpatterns.pop()


@pytest.mark.parametrize("mode", ["button", "replace"])
@pytest.mark.parametrize("prefix", ["/plain/", "/other/"])
def test_a_site_without_the_audit_trail_has_no_button(
    several: None, admin_client: Client, settings: Any, mode: str, prefix: str
) -> None:
    settings.BEMI_ADMIN_HISTORY = mode
    todo = Todo.objects.create(task="Sleep")
    for page in ("todos/todo/", f"todos/todo/{todo.pk}/change/", f"todos/todo/{todo.pk}/history/"):
        response = admin_client.get(f"{prefix}{page}")
        assert response.status_code == 200
        assert b">Audit trail</a></li>" not in response.content


PAGES = [
    "",
    "activity/",
    "deleted/",
    "health/",
    "views/",
    "request/?id=r2",
    "transaction/{change}/",
    "timeline/todos/todo/{todo}/?field=task",
    "{change}/change/",
    "timeline/todos/todo/{todo}/",
    "revert/?change={change}",
]


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("page", PAGES)
def test_all_links_stay_within_a_site(beside_the_default: None, client: Client, page: str) -> None:
    client.force_login(get_user_model().objects.create_superuser("root"))
    todo = Todo.objects.create(task="Sleep")
    record(1, primary_key="99", operation="DELETE", before={"task": "gone"}, after={})
    change = record(2, primary_key=str(todo.pk), after={"id": todo.pk, "task": "Sleep"})
    saved = {"name": "Losses", "query": "operation=DELETE"}
    assert client.post("/partner/bemi_django/change/views/", saved)["Location"].startswith("/partner/")
    text = client.get(f"/partner/bemi_django/change/{page.format(change=change.pk, todo=todo.pk)}")
    content = text.content.decode()
    assert text.status_code == 200
    assert "/partner/bemi_django/change/" in content
    assert '"/admin/' not in content
    # Other paths are those of no page: the admin has a view for them.
    links = re.findall(r'href="(/partner/bemi_django/[^"?#]*)', content)
    assert [link for link in links if resolve(link).url_name is None] == []


def test_the_button_leads_to_its_own_site(
    beside_the_default: None, admin_client: Client, settings: Any
) -> None:
    todo = Todo.objects.create(task="Sleep")
    for prefix in ("/partner/", "/admin/"):
        replaced = admin_client.get(f"{prefix}todos/todo/{todo.pk}/history/")
        assert replaced["Location"] == f"{prefix}bemi_django/change/timeline/todos/todo/{todo.pk}/"
    settings.BEMI_ADMIN_HISTORY = "button"
    page = admin_client.get(f"/partner/todos/todo/{todo.pk}/change/").content.decode()
    assert f"/partner/bemi_django/change/timeline/todos/todo/{todo.pk}/" in page
    assert "?table=todo" in admin_client.get("/partner/todos/todo/").content.decode()


def by_host(request: HttpRequest, changes: Any) -> Any:
    return changes.filter(context__tenant=request.get_host().partition(".")[0])


@pytest.fixture
def tenants(settings: Any, admin_client: Client) -> Client:
    """One user, and a tenant for each host."""
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.by_host"
    settings.ALLOWED_HOSTS = ["*"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    names = [get_user_model().objects.create(username=f"user-of-{tenant}") for tenant in ("red", "blue")]
    for number in range(1, 8):
        tenant = "red" if number < 6 else "blue"
        endpoint = f"/{tenant}-shop/"
        user = names[number >= 6].pk
        record(number, table="tag", context={"tenant": tenant, "endpoint": endpoint, "user_id": user})
    return admin_client


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("page", ["", "activity/", "activity/?user={red}", "deleted/", "health/"])
def test_nothing_of_another_tenant_is_shown(tenants: Client, page: str) -> None:
    red = get_user_model().objects.get(username="user-of-red")
    page = page.format(red=red.pk)
    seen = tenants.get(f"{LIST}{page}", headers={"host": "red.example.com"}).content.decode()
    response = tenants.get(f"{LIST}{page}", headers={"host": "blue.example.com"})
    text = response.content.decode()
    assert "user-of-red" not in text and "red-shop" not in text
    if page.startswith("activity/"):
        assert response.context["total"] == ("0" if red.pk and "user" in page else "2")
    if page in ("", "activity/"):
        assert "user-of-red" in seen


@pytest.mark.django_db(databases=["default", "other"])
def test_the_health_page_of_a_part_of_the_log_has_no_tables(tenants: Client, settings: Any) -> None:
    # Where a name may be broken is no part of it.
    response = tenants.get(f"{LIST}health/", headers={"host": "red.example.com"})
    assert response.context["is_scoped"]
    assert "public.todo" not in response.content.decode().replace("<wbr>", "")
    settings.BEMI_ADMIN_SCOPE = None
    assert "public.todo" in tenants.get(f"{LIST}health/").content.decode().replace("<wbr>", "")


def warnings(*patterns: Any) -> list[Any]:
    with override_urlconf(*patterns):
        return [message for message in run_checks() if message.id == "bemi.W012"]


@contextmanager
def override_urlconf(*patterns: Any) -> Iterator[None]:
    urlconf = ModuleType("urlconf")
    urlconf.urlpatterns = list(patterns)  # type: ignore[attr-defined]
    with override_settings(ROOT_URLCONF=urlconf):
        yield


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize(
    "sites", [[plain_site], [other_site], [plain_site, other_site]], ids=lambda sites: sites[0].name
)
def test_a_check_says_what_to_register_if_no_site_has_the_audit_trail(
    sites: list[AdminSite], depth: int
) -> None:
    patterns = [path(f"{one.name}/", one.urls) for one in sites]
    for _ in range(depth):
        patterns = [path("deeper/", include(patterns))]
    (warning,) = warnings(*patterns)
    assert ", ".join(sorted(one.name for one in sites)) in warning.msg
    assert "site.register(Change, ChangeAdmin)" in warning.hint


@pytest.mark.parametrize("sites", [[], [site], [partner_site], [plain_site, partner_site]])
def test_the_check_is_content_if_a_site_has_it_or_there_is_none(sites: list[AdminSite]) -> None:
    assert warnings(*(path(f"{one.name}/", one.urls) for one in sites)) == []


def test_the_check_imports_nothing_of_the_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bemi_django.admin.change_admin")
    assert len(warnings(path("admin/", site.urls))) == 1
    assert "bemi_django.admin.change_admin" not in sys.modules
