"""A version is restored from the timeline, what was done is undone, and one comes back to where one was."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.admin import site as admin_site
from django.test import Client
from django.utils import timezone

from bemi_django.admin.pages.reverts import revert_members
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, visitor
from tests.support.pipeline import Drain

REVERT = f"{LIST}revert/"
BEMI = ("bemi_django.view_change", "bemi_django.revert_change")
TODO = tuple(f"todos.{action}_todo" for action in ("view", "add", "change", "delete"))


@pytest.fixture
def admin(drain: Drain, client: Client, admin_user: Any) -> Client:
    client.force_login(admin_user)
    drain()
    return client


@pytest.fixture
def versions(admin: Client, drain: Drain) -> list[Change]:
    todo = Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    todo.task, todo.is_completed = "c", True
    todo.save()
    return drain()


def steps(client: Client) -> dict[str, dict[str, str]]:
    """The links of each step of the todo's timeline, by its operation and new task."""
    todo = Todo.objects.get()
    response = client.get(f"{LIST}timeline/todos/todo/{todo.pk}/")
    return {str(step.row.change.after.get("task")): dict(step.links) for step in response.context["steps"]}


def confirm(client: Client, url: str, **fields: Any) -> Any:
    plan = client.get(url)
    assert plan.status_code == 200
    return client.post(url, {"digest": plan.context["digest"], **fields}, follow=True)


def undo_link(response: Any) -> str:
    (found,) = re.findall(r'<a href="([^"]*undo=[^"]*)">', response.content.decode())
    return html.unescape(found)


def test_each_step_says_what_can_be_done_about_it(admin: Client, versions: list[Change]) -> None:
    assert {task: set(links) for task, links in steps(admin).items()} == {
        "a": {"Restore this version", "Undo the creation"},
        "b": {"Restore this version"},
        "c": set(),
    }
    viewer = visitor("bemi_django.view_change", "todos.view_todo")
    assert not any(steps(viewer).values())


def test_a_version_is_restored_and_that_is_undone(
    admin: Client, versions: list[Change], drain: Drain
) -> None:
    timeline = f"{LIST}timeline/todos/todo/{Todo.objects.get().pk}/"
    link = steps(admin)["a"]["Restore this version"]
    response = admin.get(link)
    assert {line.column for line in response.context["fields"]} == {"task", "is_completed"}
    assert "Put back 2 fields" in response.content.decode()
    response = confirm(admin, link, by_field="1", fields=["task", "is_completed"], reason="agreed")
    assert (Todo.objects.get().task, Todo.objects.get().is_completed) == ("a", False)
    assert response.redirect_chain == [(timeline, 302)]
    undo = undo_link(response)
    # The log does not have it yet.
    response = admin.get(undo, follow=True)
    assert response.redirect_chain == [(timeline, 302)]
    assert "not in the log yet" in response.content.decode()
    assert admin.post(undo).status_code == 302
    drain()
    response = admin.get(timeline)
    by = {step.row.change.after["task"]: step.reverted for step in response.context["steps"]}
    assert by["b"] == by["c"] and by["b"].context["reason"] == "agreed"
    assert [step.is_revert for step in response.context["steps"]] == [True, False, False, False]
    response = confirm(admin, undo, by_field="1", fields=["task", "is_completed"])
    assert (Todo.objects.get().task, Todo.objects.get().is_completed) == ("c", True)
    assert undo_link(response)


def test_one_field_of_a_version_is_put_back(admin: Client, versions: list[Change]) -> None:
    link = steps(admin)["b"]["Restore this version"]
    confirm(admin, link, by_field="1", fields=["task"])
    assert (Todo.objects.get().task, Todo.objects.get().is_completed) == ("b", True)


def test_the_tags_of_a_version_are_chosen_beside_its_fields(
    admin: Client, versions: list[Change], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = Todo.objects.get()
    red, blue = (Tag.objects.create(name=name) for name in ("red", "blue"))
    todo.tags.set([red])
    drain()
    todo.tags.set([blue])
    drain()
    link = steps(admin)["b"]["Restore this version"]
    fields = {line.column: line for line in admin.get(link).context["fields"]}
    assert set(fields) == {"task", "is_completed", "tags"}
    assert fields["tags"].pair.before.text == "blue" and fields["tags"].pair.after.kind == "none"
    with monkeypatch.context() as many:
        many.setattr(revert_members, "_NAMED", 0)
        *_others, line = admin.get(link).context["fields"]
        assert (line.column, line.pair.before.text, line.pair.after.text) == ("tags", "1", "0")
    confirm(admin, link, by_field="1", fields=["task"])
    assert (Todo.objects.get().task, [*todo.tags.all()]) == ("b", [blue])
    since = f"{REVERT}?since={versions[1].pk}"
    # Who may not view tags is told how many there are.
    *_others, line = visitor(*BEMI, *TODO).get(since).context["fields"]
    assert (line.column, line.pair.before.text, line.pair.after.text) == ("tags", "1", "0")
    confirm(admin, since, by_field="1", fields=["tags"])
    assert (Todo.objects.get().task, [*todo.tags.all()]) == ("b", [])
    # Whoever may not change the object may not change its tags.
    viewer = visitor(*BEMI, "todos.view_todo", name="bob")
    assert viewer.get(since).context["is_forbidden"]
    # Neither may who may change others, but not this one.
    todo.tags.set([red])
    came = drain()[-1]
    todo.tags.clear()
    (cleared,) = drain()
    editor = visitor(*BEMI, *TODO, "todos.view_tag", name="carol")
    registered = admin_site._registry[Todo]
    addresses = [f"{REVERT}?change={cleared.pk}", f"{REVERT}?since={came.pk}"]
    assert not any(editor.get(address).context["is_forbidden"] for address in addresses)
    with monkeypatch.context() as limited:
        limited.setattr(registered, "has_change_permission", lambda request, obj=None: obj is None)
        assert all(editor.get(address).context["is_forbidden"] for address in addresses)
    # What was removed from the log of the tags is not known: they stay as they are.
    removed_at, table = timezone.now(), Todo.tags.through._meta.db_table
    monkeypatch.setattr(
        "bemi_django.log.undo.complete_from", lambda place: removed_at if place.table == table else None
    )
    assert [line.column for line in admin.get(since).context["fields"]] == ["is_completed"]


def test_a_creation_is_undone_and_a_deleted_version_comes_back(
    admin: Client, versions: list[Change], drain: Drain
) -> None:
    todo = Todo.objects.get()
    # It was changed since.
    confirm(admin, steps(admin)["a"]["Undo the creation"], on_conflict="force")
    assert not Todo.objects.exists()
    drain()
    response = admin.get(f"{LIST}timeline/todos/todo/{todo.pk}/")
    links = {step.row.change.after.get("task"): dict(step.links) for step in response.context["steps"]}
    confirm(admin, links["b"]["Restore this version"])
    assert Todo.objects.get().task == "b"


def test_undoing_takes_back_all_that_was_reverted_at_once(admin: Client, drain: Drain) -> None:
    from django.db import transaction

    with transaction.atomic():
        Todo.objects.create(task="a")
        Todo.objects.create(task="b")
    first, _ = drain()
    response = confirm(admin, f"{REVERT}?transaction={first.pk}")
    assert not Todo.objects.exists()
    drain()
    confirm(admin, undo_link(response))
    assert set(Todo.objects.values_list("task", flat=True)) == {"a", "b"}


@pytest.mark.parametrize(
    "address", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "\\\\evil.example", "\0"]
)
def test_one_comes_back_to_this_site_only(admin: Client, versions: list[Change], address: str) -> None:
    response = admin.get(REVERT, {"change": str(versions[1].pk), "next": address})
    assert response.context["selection"].back == f"{LIST}{versions[1].pk}/change/"
    response = admin.get(REVERT, {"change": str(versions[1].pk), "next": f"{LIST}?table=todo"})
    assert response.context["selection"].back == f"{LIST}?table=todo"


@pytest.mark.parametrize("way", ["since", "undo"])
def test_what_is_no_change_is_not_found(admin: Client, way: str) -> None:
    for value in ("x", "00000000-0000-8000-8000-000000000000"):
        assert admin.get(f"{REVERT}?{way}={value}").status_code == 404


def test_who_may_not_revert_restores_nothing(versions: list[Change], drain: Drain) -> None:
    client = visitor("bemi_django.view_change", *TODO)
    assert client.get(f"{REVERT}?since={versions[0].pk}").status_code == 403
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", "todos.view_todo", name="bob")
    response = client.get(f"{REVERT}?since={versions[0].pk}")
    assert response.context["fields"] == [] and response.context["is_forbidden"]
    response = confirm(client, f"{REVERT}?since={versions[0].pk}")
    assert response.status_code == 403
    assert Todo.objects.get().task == "c"


def test_a_reason_that_is_masked_stays_masked(versions: list[Change], settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["context->reason"]
    Change.objects.filter(pk=versions[1].pk).update(context={"reason": "hidden-reason"})
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", *TODO)
    todo = Todo.objects.get()
    pages = [f"revert/?change={versions[1].pk}", f"timeline/todos/todo/{todo.pk}/"]
    for page in [*pages, f"timeline/todos/todo/{todo.pk}/?field=task"]:
        assert "hidden-reason" not in client.get(f"{LIST}{page}").content.decode()
