"""The site and its admin as of a moment that a member of staff has chosen."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db import OperationalError, connection, connections
from django.test import AsyncClient, Client
from django.utils import timezone
from django.utils.formats import date_format

from bemi_django.admin import ChangesInline
from bemi_django.models import Change
from bemi_django.site_past import departure
from bemi_django.site_past.chosen_moment import COOKIE
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, visitor
from tests.support.pipeline import Drain

TRAVEL = f"{LIST}travel/"
MAY = ("bemi_django.travel_in_time", "bemi_django.view_change", "todos.view_todo", "todos.change_todo")


@pytest.fixture
def change(drain: Drain, settings: Any, request: pytest.FixtureRequest) -> Iterator[Change]:
    """The change that renamed a todo from “Sleep” to “Wake up”; the user "ann" may look before it."""
    settings.ROOT_URLCONF = "tests.support.site_views"
    settings.BEMI_AS_OF_PATIENCE = 0
    cache.clear()
    todo = Todo.objects.create(task="Sleep")
    drain()
    todo.task = "Wake up"
    todo.save()
    (change,) = drain()
    marker = request.node.get_closest_marker("django_db")
    with pytest.MonkeyPatch.context() as patch:
        if not (marker and marker.kwargs.get("databases")):
            # All databases of the project are looked at, and a test has only those that it names.
            patch.delitem(connections.settings, "other")
        yield change
    cache.clear()


@pytest.fixture
def ann(change: Change, drain: Drain) -> Client:
    """Somebody who looks at the site just before the change."""
    client = visitor(*MAY)
    drain()
    go(client, change)
    return client


def go(client: Client, change: Change) -> Any:
    response = client.post(TRAVEL, {"before": str(change.pk)})
    assert response.status_code == 302
    return response


def text(client: Client, path: str, status: int = 200, **headers: Any) -> str:
    response = client.get(path, headers=headers or None)
    assert response.status_code == status, response.content
    return response.content.decode()


def test_from_a_change_the_admin_and_the_site_are_seen_just_before_it(change: Change, drain: Drain) -> None:
    client = visitor(*MAY)
    drain()
    page = text(client, f"{LIST}{change.pk}/change/")
    assert "Look at the site just before this" in page
    response = go(client, change)
    assert response["Location"] == f"/admin/todos/todo/{change.primary_key}/change/"
    form = text(client, response["Location"])
    assert ">Sleep<" in form and "Wake up" not in form
    assert ">Sleep<" in text(client, "/admin/todos/todo/")
    assert "Recent actions" in text(client, "/admin/")
    assert "Sleep" in text(client, "/page/") and "Wake up" in text(Client(), "/page/")
    assert client.get("/data/").json() == {"tasks": "Sleep", "user": "ann"}
    response = client.post(TRAVEL, {"back": "1", "next": "/page/"})
    assert response["Location"] == "/page/"
    assert "Wake up" in text(client, "/page/")
    assert "Bemi-As-Of" not in client.get("/page/")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_the_banner_says_when_and_leads_back(ann: Client, change: Change) -> None:
    response = ann.get("/page/?a=1&b=2")
    page = response.content.decode()
    begin = page.index('<body class="a > b">') + len('<body class="a > b">')
    assert page[begin:].lstrip().startswith("<link")
    moment = timezone.localtime(change.committed_at)
    assert f"{date_format(moment)} {moment:%H:%M:%S}</strong>" in page
    assert f"{LIST}{change.pk}/change/" in page and "Back to the present" in page
    assert 'value="/page/?a=1&amp;b=2"' in page
    # The tests' other database has no log of its own.
    assert "The database other has no log" in page
    assert response["Cache-Control"] == "private, no-store" and "Cookie" in response["Vary"]
    assert response["Bemi-As-Of"] == change.committed_at.isoformat()


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_moment_is_typed_and_must_be_known(
    change: Change, drain: Drain, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    change = Change.objects.get(pk=change.pk)
    client = visitor(*MAY)
    drain()
    for moment, error in (
        (f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M:%S}", "This moment is in the future."),
        ("2001-01-01T00:00", "The log is complete from"),
        ("yesterday", "is not a valid date and time"),
        ("", "This field is required"),
    ):
        response = client.post(TRAVEL, {"at": moment})
        assert (response.status_code, COOKIE in response.cookies) == (200, False)
        assert error in response.content.decode()
    response = client.post(TRAVEL, {"at": change.committed_at.isoformat(), "next": "https://example.com/"})
    assert response["Location"] == "/admin/"
    assert "Wake up" in text(client, "/page/") and client.get("/page/")["Bemi-As-Of"]


def test_nothing_but_reading_is_allowed(ann: Client) -> None:
    for method in ("post", "put", "patch", "delete", "trace"):
        response = getattr(ann, method)("/admin/todos/todo/add/")
        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert "Back to the present" in response.content.decode()
    assert Todo.objects.count() == 1
    assert ann.head("/page/").content == b"" and ann.options("/page/").status_code == 200


def test_the_admin_offers_no_change(ann: Client, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    get_user_model().objects.update(is_superuser=True)
    todo, shop = Todo.objects.get(), admin.site._registry[Todo]
    todo.tags.add(Tag.objects.create(name="late"))
    members = type("Members", (admin.TabularInline,), {"model": Todo.tags.through})
    for name, value in (("inlines", [members]), ("list_editable", ["is_completed"]), ("actions", [finish])):
        monkeypatch.setattr(shop, name, value)
    form, listed = f"/admin/todos/todo/{todo.pk}/change/", "/admin/todos/todo/"

    def offers(page: str) -> list[str]:
        own = page[page.index("Back to the present") :]
        # Menus, buttons, inputs of rows and of inlines, actions, and widgets of other objects.
        found = re.findall(
            r'name="(_\w+|task|action|form-0-\w+|\w+-0-tag)"|href="[^"]*/(add|delete)/["?]', own
        )
        return sorted({name or link for name, link in found})

    for page in (text(ann, form), text(ann, listed), text(ann, "/admin/")):
        assert offers(page) == []
    for path in (f"{listed}add/", f"/admin/todos/todo/{todo.pk}/delete/"):
        assert "The past cannot be changed" in text(ann, path, 403)
    # Of others, the same objects of the admin offer what they did.
    ann.post(TRAVEL, {"back": "1"})
    present = text(ann, form) + text(ann, listed)
    assert {"_save", "task", "action", "add", "delete", "form-0-is_completed"} <= set(
        offers(f"Back to the present{present}")
    )
    assert ann.get(f"{listed}add/").status_code == 200


def test_models_that_are_registered_late_offer_no_change_either(ann: Client, settings: Any) -> None:
    get_user_model().objects.update(is_superuser=True)
    # It is imported, and registers its models, when the first request asks for a URL.
    settings.ROOT_URLCONF = "tests.support.late_site"
    sys.modules.pop("tests.support.late_site", None)
    page = text(ann, f"/late/todos/todo/{Todo.objects.get().pk}/change/")
    assert "tests.support.late_site" in sys.modules
    assert ">Sleep<" in page and "_save" not in page


def test_buttons_of_templates_are_hidden_on_pages_of_the_past_alone(ann: Client) -> None:
    assert "bemi-past-then" in text(ann, "/page/")
    assert "bemi-past-then" not in text(ann, TRAVEL)


def finish(model_admin: Any, request: Any, chosen: Any) -> None:
    """Do something that takes no permission."""


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_what_a_view_writes_is_refused_in_every_database(ann: Client) -> None:
    assert "The past is read-only" in text(ann, "/writing/", 409)
    assert "The past is read-only" in text(ann, "/other_database/?write=1", 409)
    assert text(ann, "/other_database/") == "0"
    assert list(Todo.objects.values_list("task", flat=True)) == ["Wake up"]
    with pytest.raises(RuntimeError, match="of its own"):
        ann.get("/failing/")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_what_does_not_look_like_a_write_is_refused_too(ann: Client) -> None:
    for alias in ("default", "other"):
        for sql in (
            "SELECT nextval('todo_id_seq')",
            "SELECT 1 AS one INTO written",
            "DO $$ BEGIN UPDATE todo SET task = ''; END $$",
            "COMMIT; UPDATE todo SET task = ''",
            "SELECT 1; END; UPDATE todo SET task = ''",
        ):
            response = ann.get("/sending/", {"alias": alias, "sql": sql})
            assert "The past is read-only" in response.content.decode(), (alias, sql)
        assert ann.get("/sending/", {"alias": alias, "sql": "SELECT 1"}).content == b"sent"
    assert Todo.objects.get().task == "Wake up"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_what_a_view_leaves_for_after_the_commit_is_not_done(ann: Client) -> None:
    assert "to be written" in text(ann, "/writing_later/")
    assert list(Todo.objects.values_list("task", flat=True)) == ["Wake up"]


def test_an_alias_can_be_no_database(ann: Client) -> None:
    # Undone before the tests' databases are, which would be asked for it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connections.settings, "empty", {})
        connections.configure_settings(connections.settings)
        page = text(ann, "/page/")
    assert "Sleep" in page and "The database" not in page


def test_a_standby_that_is_away_is_said(ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(departure, "as_of", fail)
    assert "cannot be read at the moment" in text(ann, "/page/", 409)


def test_the_changes_of_an_object_are_found_from_its_past(
    ann: Client, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site._registry[Todo], "inlines", [ChangesInline])
    page = text(ann, f"/admin/todos/todo/{change.primary_key}/change/")
    assert "has no changes of this object" not in page and "bemi-timeline" in page


def test_what_is_not_known_as_of_then_is_said(ann: Client, drain: Drain) -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE todo CASCADE")
    drain()
    page = text(ann, "/page/", 409)
    assert "Not known as of then" in page and "public.todo was truncated" in page
    assert "Back to the present" in page
    # Other pages are known.
    assert "Recent actions" in text(ann, "/admin/")


def test_the_log_that_is_behind_and_a_change_that_is_gone_are_said(
    ann: Client, change: Change, settings: Any
) -> None:
    settings.BEMI_AS_OF_PATIENCE = 0.1
    Todo.objects.create(task="Late")
    response = ann.get("/page/")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "The log is behind" in response.content.decode()
    Change.objects.filter(pk=change.pk).delete()
    assert "The change was removed from the log." in text(ann, "/page/", 409)


def test_the_caches_of_either_time_are_not_those_of_the_other(ann: Client) -> None:
    everybody = Client()
    for path in ("/kept/", "/cached/"):
        assert "Sleep" in text(ann, path)
        assert "Wake up" in text(everybody, path)
        assert "Sleep" in text(ann, path)
    assert cache.get("tasks") == "Wake up"
    # A browser is not told that it has the page already, which would be the one of the present.
    response = ann.get("/checked/", headers={"If-None-Match": '"same"'})
    assert response.status_code == 200 and "ETag" not in response


def test_what_is_streamed_would_be_of_the_present(ann: Client) -> None:
    assert "sent piece by piece" in text(ann, "/stream/", 409)
    assert b"".join(ann.get("/file/").streaming_content)  # type: ignore[attr-defined]


def test_async_requests_see_it_too(ann: Client) -> None:
    async def get(path: str) -> Any:
        client = AsyncClient()
        client.cookies = ann.cookies
        return await client.get(path)

    async def both() -> tuple[Any, ...]:
        try:
            return tuple([await get(f"/{name}/") for name in ("async_page", "page", "writing", "stream")])
        finally:
            await sync_to_async(connections.close_all)()

    first, second, written, streamed = asyncio.run(both())
    assert "Sleep" in first.content.decode() and "Back to the present" in first.content.decode()
    assert "Sleep" in second.content.decode()
    assert (written.status_code, streamed.status_code) == (409, 409)
    assert "Wake up" in text(Client(), "/async_page/")


def test_who_a_user_is_and_may_do_is_of_the_present(ann: Client, drain: Drain) -> None:
    user = get_user_model().objects.get(username="ann")
    user.username = "anna"
    user.save()
    user.user_permissions.remove(Permission.objects.get(codename="view_todo"))
    user.user_permissions.remove(Permission.objects.get(codename="change_todo"))
    drain()
    assert ann.get("/data/").json() == {"tasks": "Sleep", "user": "anna"}
    assert ann.get("/admin/todos/todo/").status_code == 403
    user.user_permissions.remove(Permission.objects.get(codename="travel_in_time"))
    response = ann.get("/data/")
    assert (response.json()["tasks"], response.cookies[COOKIE].value) == ("Wake up", "")
    assert ann.get(TRAVEL).status_code == 403


def test_a_cookie_that_is_not_ours_or_of_another_user_is_dropped(ann: Client, drain: Drain) -> None:
    bob = visitor(*MAY, name="bob")
    for value in ("", "x", "WyI3Il0:1a:b", ann.cookies[COOKIE].value):
        bob.cookies[COOKIE] = value
        response = bob.get("/data/")
        assert (response.json()["tasks"], response.cookies[COOKIE].value) == ("Wake up", "")


def test_the_log_and_views_of_the_present_stay_there(ann: Client, change: Change) -> None:
    page = text(ann, f"{LIST}{change.pk}/change/")
    assert "This page shows the present" in page and "Wake up" in page
    assert ann.get("/now/").json()["tasks"] == "Wake up"
    answer = ann.get(f"/audit/objects/todos/todo/{change.primary_key}/fields/")
    fields = {field["name"]: (field["value"], field["is_pending"]) for field in answer.json()["results"]}
    assert (answer["Bemi-As-Of"], fields["task"]) == ("now", ("Wake up", False))
    response = ann.post("/admin/logout/")
    assert response.status_code == 200
    assert ann.get("/data/").json() == {"tasks": "Wake up", "user": "AnonymousUser"}


def test_who_may_not_travel_is_offered_nothing(change: Change) -> None:
    client = visitor("bemi_django.view_change", name="bob")
    page = text(client, f"{LIST}{change.pk}/change/")
    assert "just before this" not in page and "Time travel" not in page
    assert client.get(TRAVEL).status_code == 403
    assert client.post(TRAVEL, {"before": str(change.pk)}).status_code == 403


def test_a_change_that_is_out_of_scope_leads_nowhere(change: Change, settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.nothing"
    client = visitor(*MAY, name="bob")
    for value in (str(change.pk), "x"):
        assert client.post(TRAVEL, {"before": value}).status_code == 404


def nothing(request: Any, changes: Any) -> Any:
    return changes.none()


def test_time_travel_is_recorded_and_so_is_as_of_when_something_was_viewed(
    change: Change, drain: Drain
) -> None:
    client = visitor(*MAY)
    drain()
    go(client, change)
    text(client, f"/viewing/{change.primary_key}/")
    travel, viewed = drain()
    assert (travel.context["event"], viewed.context["event"]) == ("time_travel", "viewed")
    moment = change.committed_at.isoformat()
    assert travel.context["details"] == {"moments": [moment], "site": True, "before": str(change.pk)}
    assert viewed.context["as_of"] == moment and "as_of" not in travel.context


def test_without_the_middleware_the_page_says_so(change: Change, settings: Any) -> None:
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "TimeTravel" not in path]
    client = visitor(*MAY, name="bob")
    page = text(client, TRAVEL)
    assert "add bemi_django.middleware.TimeTravelMiddleware at the end of MIDDLEWARE" in page
    assert "just before this" not in text(client, f"{LIST}{change.pk}/change/")
