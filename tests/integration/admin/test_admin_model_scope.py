"""With ``BEMI_ADMIN_SCOPE = "models"``, users see the changes of models that they may view, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client

from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, listed, record, visitor
from tests.support.audit_api import answer, problem

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.urls("tests.support.audit_api"),
]
ACTIONS = tuple(f"bemi_django.{action}_change" for action in ("view", "export", "revert"))
SECRET = "secret-tag"


@pytest.fixture
def client(settings: Any) -> Client:
    """Somebody who may view todos, and not tags; rows of both, changed by one request."""
    settings.BEMI_ADMIN_SCOPE = "models"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    Todo.objects.create(pk=1, task="Wake up").tags.add(Tag.objects.create(pk=1, name=SECRET))
    hidden = {"endpoint": f"/{SECRET}/", "request_id": "r1", "user_id": 7}
    record(1, context={"request_id": "r1", "endpoint": "/todos/"})
    record(1, ordinal=1, table="tag", context=hidden, before={"name": SECRET}, after={"name": "other"})
    record(
        2, table="tag", primary_key="9", operation="DELETE", context=hidden, before={"name": SECRET}, after={}
    )
    record(3, table="no_model", context=hidden, before={"name": SECRET})
    record(4, table="", schema="", operation="GAP", primary_key=None, before={}, after={}, context=hidden)
    record(5, table="todo", schema="elsewhere", context=hidden, before={"name": SECRET})
    return visitor(*ACTIONS, "todos.view_todo", "todos.change_todo")


def test_only_changes_of_models_that_one_may_view_are_listed(client: Client, admin_client: Client) -> None:
    assert listed(client) == [1]
    assert listed(admin_client) == [5, 4, 3, 2, 1, 1]
    tagger = visitor(*ACTIONS, "todos.view_tag", name="tagger")
    assert listed(tagger) == [2, 1]
    assert listed(visitor(*ACTIONS, name="nobody")) == []
    assert listed(client, f"?q=name:{SECRET}") == []


PAGES = [
    *(
        "",
        "?view=rows",
        "?records=on",
        "?table=tag",
        "?q=request:r1",
        "?operation=DELETE",
    ),
    *("activity/", "activity/?user=7", "deleted/", "request/?id=r1", "timeline/todos/todo/1/?related=all"),
    *("timeline/todos/todo/1/?at=2020-01-01T00:00:00", "export/?format=csv", "export/?format=jsonl"),
]


@pytest.mark.parametrize("page", PAGES)
def test_no_page_tells_anything_of_other_models(client: Client, page: str) -> None:
    response: Any = client.get(f"{LIST}{page}")
    content = b"".join(response) if response.streaming else response.content
    assert response.status_code == 200
    assert SECRET not in content.decode()


def test_counts_are_of_what_one_may_see(client: Client) -> None:
    assert client.get(f"{LIST}activity/").context["total"] == "1"
    facets = client.get(LIST).context["facets"]
    assert facets.counted == 1
    request = client.get(f"{LIST}request/?id=r1").context
    assert request["count"] == 1
    assert client.get(f"{LIST}timeline/todos/tag/1/").status_code == 403


def test_the_api_has_the_same_scope(client: Client) -> None:
    assert [one["position"] for one in answer(client, "changes/")["results"]] == [8]
    assert len(answer(client, "request/", id="r1")["results"]) == 1
    assert SECRET not in str(answer(client, "objects/todos/todo/1/", related="all"))
    problem(client, "objects/todos/tag/1/", 403)


def test_a_revert_of_what_one_does_not_see_is_not_planned(client: Client) -> None:
    (change,) = answer(client, "changes/")["results"]
    page = client.get(f"{LIST}revert/?transaction={change['id']}")
    assert page.status_code == 200 and SECRET not in page.content.decode()


def test_the_health_page_has_a_permission_of_its_own(db: None) -> None:
    manager = visitor("bemi_django.view_change", name="manager")
    administrator = visitor("bemi_django.view_health", name="dba")
    assert manager.get(f"{LIST}health/").status_code == 403
    assert "Health" not in [str(label) for label, *_ in manager.get(LIST).context["tabs"]]
    page = administrator.get(f"{LIST}health/")
    assert page.status_code == 200
    assert [str(label) for label, *_ in page.context["tabs"]] == ["Health"]
    for other in ("activity/", "deleted/"):
        assert administrator.get(f"{LIST}{other}").status_code == 403
    # The index has a link, which leads there.
    for path in ("/admin/", "/admin/bemi_django/"):
        assert f'href="{LIST}"' in administrator.get(path).content.decode()
    assert administrator.get(LIST)["Location"] == f"{LIST}health/"
    nobody = visitor("todos.view_todo", name="nobody")
    assert f'href="{LIST}"' not in nobody.get("/admin/").content.decode()
    assert nobody.get(LIST).status_code == 403


@pytest.mark.parametrize(("scope", "is_valid"), [("models", True), ("modles", False), (None, True)])
def test_the_check_knows_the_word(settings: Any, scope: Any, is_valid: bool) -> None:
    settings.BEMI_ADMIN_SCOPE = scope
    found = [one for one in run_checks() if one.id == "bemi.E001"]
    assert (found == []) == is_valid


def test_whether_there_is_a_user_is_told_only_of_those_whose_changes_one_sees(
    client: Client, django_user_model: Any
) -> None:
    seen = django_user_model.objects.create_user("seen", email="seen@example.com")
    unseen = django_user_model.objects.create_user("unseen", email="unseen@example.com")
    record(10, context={"user_id": seen.pk})
    record(11, table="tag", context={"user_id": unseen.pk})

    def said_of(viewer: Client, user: str) -> tuple[list[int], str]:
        context = viewer.get(LIST, {"user": user, "view": "rows"}).context
        errors = context["form"].errors.get("user", [])
        return [row.change.position // 8 for row in context["rows"]], " ".join(errors).replace(user, "…")

    nobody = said_of(client, "nobody at all")
    assert nobody[1].startswith("No user has the name")
    for user in ("unseen", "unseen@example.com", "seen@example.com", str(unseen.pk), "4711471"):
        assert said_of(client, user) == nobody, user
    assert said_of(client, "seen") == said_of(client, str(seen.pk)) == ([10], "")
    for user in ("seen@example.com", "unseen@example.com"):
        assert len(client.get(LIST, {"not_user": user, "view": "rows"}).context["rows"]) == 2
    may_know = visitor(*ACTIONS, "todos.view_todo", "auth.view_user", name="knows")
    assert said_of(may_know, "unseen@example.com") == ([], "")
    assert said_of(may_know, "seen@example.com") == ([10], "")
