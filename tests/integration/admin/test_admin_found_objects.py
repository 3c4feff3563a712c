"""The search of the list finds objects by the search fields of their models' admins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth import get_user_model
from django.db.models import Value
from django.test import Client

from bemi_django.admin.search.hints import found_objects
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record, visitor


def found(client: Client, text: str, **parameters: Any) -> dict[str, list[str]]:
    response = client.get(LIST, {"q": text, **parameters})
    assert response.status_code == 200
    return {group.name: [one.label for one in group.objects] for group in response.context["found_objects"]}


@contextmanager
def admin_with(monkeypatch: pytest.MonkeyPatch, model: Any, **attributes: Any) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name, value in attributes.items():
            # Not by setattr(), which would leave a bound method behind.
            patch.setitem(site._registry[model].__dict__, name, value)
        yield


def test_objects_are_found_by_their_names(admin_client: Client) -> None:
    todos = [Todo.objects.create(task=f"Garden lamp {number}") for number in range(5)]
    Todo.objects.create(task="Garden")
    Tag.objects.create(name="lamp in the garden")
    get_user_model().objects.create_user("gardenlamp")
    response = admin_client.get(LIST, {"q": "garden lamp"})
    groups = {group.name: group for group in response.context["found_objects"]}
    assert list(groups) == ["users", "tags", "todos"]
    assert [one.label for one in groups["todos"].objects] == [f"Garden lamp {n}" for n in (4, 3, 2)]
    assert groups["todos"].objects[0].url == f"{LIST}timeline/todos/todo/{todos[4].pk}/"
    assert groups["todos"].more == "/admin/todos/todo/?q=garden+lamp" and groups["tags"].more is None
    page = response.content.decode()
    assert "Objects with this name" in page and ">Garden lamp 4</a>" in page
    assert admin_client.get(groups["todos"].objects[0].url).status_code == 200


@pytest.mark.parametrize("text", ["task:lamp", "reason=lamp", '{"a": "lamp"}', "l", "lamp " * 25, "missing"])
def test_other_searches_find_none(admin_client: Client, text: str) -> None:
    Todo.objects.create(task="lamp " * 36)
    assert found(admin_client, text) == {}


def test_other_pages_of_the_list_find_none(admin_client: Client) -> None:
    change = record(1)
    Todo.objects.create(task="lamp")
    assert found(admin_client, "lamp", older=str(change.pk)) == {}


def test_only_what_the_user_may_view_is_found(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = (Todo.objects.create(task=f"lamp {name}") for name in ("mine", "other"))
    Tag.objects.create(name="lamp")
    assert found(visitor("bemi_django.view_change"), "lamp") == {}
    client = visitor("bemi_django.view_change", "todos.view_todo", name="bob")
    assert found(client, "lamp") == {"todos": ["lamp other", "lamp mine"]}
    # As the list of the admin, row by row.
    own = Todo.objects.filter(pk=mine.pk)
    with admin_with(monkeypatch, Todo, get_queryset=lambda request: own):
        assert found(client, "lamp") == {"todos": ["lamp mine"]}
    allowed = admin_with(
        monkeypatch, Todo, has_view_permission=lambda request, obj=None: obj is None or obj.pk == other.pk
    )
    with allowed:
        assert found(client, "lamp") == {"todos": ["lamp other"]}


def scope(request: Any, changes: Any) -> Any:
    return changes.filter(primary_key="1")


def test_nothing_outside_the_scope_is_named(admin_client: Client, settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.scope"
    Todo.objects.create(pk=1, task="lamp in sight")
    Todo.objects.create(pk=2, task="lamp out of sight")
    for key in ("1", "2"):
        record(int(key), primary_key=key)
    assert found(admin_client, "lamp") == {"todos": ["lamp in sight"]}


@pytest.mark.django_db
def test_masked_fields_are_not_searched(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = get_user_model()
    ann = user.objects.create_user("searched", email="secret@example.com")
    Todo.objects.create(task="lamp", owner=ann)
    settings.BEMI_MASKED_FIELDS = ["auth_user.email"]
    client = visitor("bemi_django.view_change", "auth.view_user", "todos.view_todo")
    assert found(client, "searched") == {"users": ["searched"]}
    assert found(client, "secret@example.com") == {}
    for path in ("owner__email", "owner__email__iexact", "secret_of_the_project"):
        with admin_with(monkeypatch, Todo, get_search_fields=lambda request, path=path: ["=" + path]):
            assert found(client, "secret@example.com") == {}
    with admin_with(monkeypatch, Todo, get_search_fields=lambda request: ["task", "owner__email"]):
        assert found(client, "lamp") == {"todos": ["lamp"]}
        assert found(client, "secret@example.com") == {}
    seeing = visitor(
        "bemi_django.view_change", "bemi_django.unmask_change", "auth.view_user", name="permitted"
    )
    assert found(seeing, "secret@example.com") == {"users": ["searched"]}


@pytest.mark.django_db
def test_a_search_of_the_project_is_not_trusted_with_masks(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Todo.objects.create(task="lamp")
    client = visitor("bemi_django.view_change", "todos.view_todo")

    def everything(self: Any, request: Any, queryset: Any, text: str) -> Any:
        return queryset.annotate(one=Value(1)), True

    monkeypatch.setattr(type(site._registry[Todo]), "get_search_results", everything)
    settings.BEMI_MASKED_FIELDS = []
    assert found(client, "anything") == {"todos": ["lamp"]}
    settings.BEMI_MASKED_FIELDS = ["auth_user.email"]
    assert found(client, "anything") == {}


def test_a_slow_or_broken_search_hides_nothing_else(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(1, primary_key="lamp")
    Tag.objects.create(name="lamp")

    def slow(request: Any, queryset: Any, text: str) -> Any:
        return queryset.extra(where=["pg_sleep(3600) IS NOT NULL"]), False

    Todo.objects.create(task="lamp")
    with admin_with(monkeypatch, Todo, get_search_results=slow):
        assert found(admin_client, "lamp") == {"tags": ["lamp"]}
    with admin_with(monkeypatch, Todo, get_search_fields=lambda request: ["nothing"]):
        assert found(admin_client, "lamp") == {"tags": ["lamp"]}
    monkeypatch.setattr(found_objects, "_BUDGET", -1)
    assert found(admin_client, "lamp") == {}
