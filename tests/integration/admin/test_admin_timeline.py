"""The history of an object in the admin, and the buttons that lead there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory
from django.utils import timezone
from django.utils.html import strip_tags

from bemi_django.admin import HistoryMixin, history_button
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, move, record, visitor
from tests.support.pipeline import Drain


def timeline(client: Client, instance: Any, query: str = "", key: object = None) -> Any:
    meta = instance._meta
    response = client.get(
        f"{LIST}timeline/{meta.app_label}/{meta.model_name}/{instance.pk if key is None else key}/{query}"
    )
    assert response.status_code == 200
    return response


def test_the_timeline_has_the_object_s_changes_and_its_children_s(admin_client: Client, drain: Drain) -> None:
    todo, other = Todo.objects.create(task="Sleep"), Todo.objects.create(task="Other")
    tag = Tag.objects.create(name="night")
    todo.tags.add(tag)
    todo.task = "Sleep well"
    todo.save()
    todo.tags.remove(tag)
    other.tags.add(tag)
    drain()
    steps = timeline(admin_client, todo).context["steps"]
    assert [(step.row.change.table, step.row.change.operation) for step in steps] == [
        ("todo_tags", "DELETE"),
        ("todo", "UPDATE"),
        ("todo_tags", "CREATE"),
        ("todo", "CREATE"),
    ]


def test_blame_says_since_when_and_by_whom_each_field_is_as_it_is(admin_client: Client) -> None:
    user = get_user_model().objects.create(username="bob")
    todo = Todo.objects.create(task="b")
    key = str(todo.pk)
    first = record(
        1,
        primary_key=key,
        operation="CREATE",
        before={},
        after={"id": todo.pk, "task": "a", "is_completed": False},
    )
    second = record(
        2,
        primary_key=key,
        before={"id": todo.pk, "task": "a", "is_completed": False},
        after={"id": todo.pk, "task": "b", "is_completed": False},
        context={"user_id": user.pk},
    )
    blamed = {line.label: line.by for line in timeline(admin_client, todo).context["lines"]}
    assert (blamed["task"][0], blamed["task"][1].label) == (second, "bob")
    assert blamed["is completed"][0] == first


def test_an_event_is_a_sentence_with_its_details(admin_client: Client) -> None:
    todo = Todo.objects.create(task="Sleep")
    context = {"event": "viewed", "details": {"moments": ["2026-10-10T00:00:00+00:00"]}}
    record(1, primary_key=str(todo.pk), operation="EVENT", before={}, after={}, context=context)
    page = timeline(admin_client, todo)
    (step,) = page.context["steps"]
    assert strip_tags(step.event) == "viewed todo Sleep"
    assert [(brief.name, brief.after) for brief in step.row.briefs] == [("moments", "Oct. 10, 2026 00:00:00")]
    assert "viewed " in page.content.decode()


@pytest.fixture
def history(db: None) -> Todo:
    """A todo that was “a” 50 and “b” 40 minutes ago, gone 30, and put back 20 minutes ago as “c”."""
    todo = Todo.objects.create(task="c")
    now = timezone.now()
    steps: list[tuple[int, str, dict[str, Any], dict[str, Any]]] = [
        (50, "CREATE", {}, {"id": todo.pk, "task": "a"}),
        (40, "UPDATE", {"id": todo.pk, "task": "a"}, {"id": todo.pk, "task": "b"}),
        (30, "DELETE", {"id": todo.pk, "task": "b"}, {}),
        (20, "CREATE", {}, {"id": todo.pk, "task": "c"}),
    ]
    for number, (minutes, operation, before, after) in enumerate(steps, 1):
        record(
            number,
            primary_key=str(todo.pk),
            operation=operation,
            before=before,
            after=after,
            committed_at=now - timedelta(minutes=minutes),
        )
    return todo


def ago(minutes: float) -> str:
    return f"{timezone.now() - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S}"


@pytest.mark.parametrize(("minutes", "task"), [(45, "a"), (35, "b"), (10, "c"), (-5, "c")])
def test_the_whole_row_is_shown_as_it_was(
    admin_client: Client, history: Todo, minutes: int, task: str
) -> None:
    context = timeline(admin_client, history, f"?at={ago(minutes)}").context
    lines = {line.label: line.pair.before.text for line in context["lines"]}
    assert lines == {"ID": str(history.pk), "task": task}


@pytest.mark.parametrize("minutes", [60, 25])
def test_a_moment_without_the_row_says_so(admin_client: Client, history: Todo, minutes: int) -> None:
    response = timeline(admin_client, history, f"?at={ago(minutes)}")
    assert response.context["lines"] == []
    assert "The object did not exist at that time." in response.content.decode()


def test_two_moments_are_compared(admin_client: Client, history: Todo) -> None:
    response = timeline(admin_client, history, f"?at={ago(45)}&and={ago(10)}")
    changed = {line.label: line.pair for line in response.context["lines"] if line.is_changed}
    assert list(changed) == ["task"]
    assert (changed["task"].before.text, changed["task"].after.text) == ("a", "c")


def test_before_its_first_change_a_row_is_what_that_change_found(admin_client: Client) -> None:
    todo = Todo.objects.create(task="b")
    record(1, primary_key=str(todo.pk), before={"task": "a"}, after={"task": "b"})
    (line,) = timeline(admin_client, todo, f"?at={ago(60)}").context["lines"]
    assert line.pair.before.text == "a"


def test_a_row_without_any_change_is_shown_as_it_is(admin_client: Client) -> None:
    todo = Todo.objects.create(task="Sleep")
    response = timeline(admin_client, todo)
    assert "The log has no changes of this object." in response.content.decode()
    lines = {line.label: line.pair.before.text for line in response.context["lines"]}
    assert lines["task"] == "Sleep"


def test_a_row_that_is_gone_has_a_timeline(admin_client: Client) -> None:
    record(1, primary_key="99", operation="DELETE", before={"id": 99, "task": "Gone"}, after={})
    response = timeline(admin_client, Todo(), key="99")
    assert "<s>Gone</s>" in response.content.decode()


def test_a_row_that_is_gone_is_found_by_its_key_as_django_reads_it(admin_client: Client) -> None:
    record(1, primary_key="99", operation="DELETE", before={"id": 99, "task": "Gone"}, after={})
    assert "<s>Gone</s>" in timeline(admin_client, Todo(), key="0099").content.decode()


@pytest.mark.parametrize("path", ["todos/todo/99", "todos/nothing/1", "nowhere/todo/1", "todos/todo/a%00"])
def test_what_never_was_is_not_found(admin_client: Client, path: str) -> None:
    assert admin_client.get(f"{LIST}timeline/{path}/").status_code == 404


def test_the_form_names_what_it_refers_to_and_what_it_held_then(admin_client: Client, drain: Drain) -> None:
    owner = get_user_model().objects.create(username="bob")
    todo = Todo.objects.create(task="Sleep", owner=owner)
    day, night, gone = (Tag.objects.create(name=name) for name in ("day", "night", "gone"))
    todo.tags.set([day, gone])
    changes = drain()
    # Moments are told to the second; the changes are moved apart.
    for number, change in enumerate(changes):
        move(change, timezone.now() - timedelta(minutes=60 - number))
    then = ago(30)
    todo.tags.set([night])
    gone_key = gone.pk
    gone.delete()
    drain()

    def texts(query: str) -> dict[str, list[str]]:
        lines = timeline(admin_client, todo, query).context["lines"]
        return {line.label: [side.text for side in line.pair[:2] if side] for line in lines}

    assert texts("")["tags"] == ["night", "night"]
    assert texts(f"?at={then}")["tags"][0] == f"#{gone_key}, day"
    assert texts(f"?at={then}&and={ago(-5)}")["tags"] == [f"#{gone_key}, day", "night"]
    assert texts("")["owner"][0] == "bob"
    assert "tags" not in texts(f"?at={ago(90)}")
    Todo.objects.all().delete()
    drain()
    assert texts(f"?at={then}")["tags"][0] == f"#{gone_key}, day"


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01T00:00", "2026-02-30"])
def test_a_moment_that_is_none_counts_for_now(admin_client: Client, moment: str) -> None:
    todo = Todo.objects.create(task="Sleep")
    assert timeline(admin_client, todo, f"?at={moment}").context["at"] is None


def test_children_that_cannot_be_found_in_time_are_said(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bemi_django.admin.pages.history import timeline as module

    todo = Todo.objects.create(task="Sleep")
    record(1, table="todo_tags", operation="CREATE", before={}, after={"todo_id": todo.pk})
    monkeypatch.setattr(module, "_MOST_CHILDREN", 1)
    assert "Some changes of related objects are not shown" in timeline(admin_client, todo).content.decode()


def button(client: Client, path: str) -> bool:
    response = client.get(path)
    assert response.status_code == 200
    return b">Audit trail</a></li>" in response.content


def test_every_model_s_pages_have_a_button(admin_client: Client, settings: Any) -> None:
    settings.BEMI_ADMIN_HISTORY = "button"
    todo = Todo.objects.create(task="Sleep")
    pages = ["/admin/todos/todo/", f"/admin/todos/todo/{todo.pk}/change/", "/admin/auth/group/"]
    assert [button(admin_client, page) for page in pages] == [True] * 3
    assert f'href="{LIST}timeline/todos/todo/{todo.pk}/"' in admin_client.get(pages[1]).content.decode()
    assert f'href="{LIST}?table=todo"' in admin_client.get(pages[0]).content.decode()
    settings.BEMI_ADMIN_HISTORY = None
    assert [button(admin_client, page) for page in pages] == [False] * 3


def test_who_may_not_see_changes_has_no_button(db: None) -> None:
    todo = Todo.objects.create(task="Sleep")
    client = visitor("todos.view_todo", "todos.change_todo")
    assert not button(client, "/admin/todos/todo/")
    assert not button(client, f"/admin/todos/todo/{todo.pk}/change/")


def test_django_s_own_history_is_replaced_unless_it_is_to_stay(admin_client: Client, settings: Any) -> None:
    todo = Todo.objects.create(task="Sleep")
    path = f"/admin/todos/todo/{todo.pk}/history/"
    for mode in ("button", None):
        settings.BEMI_ADMIN_HISTORY = mode
        assert admin_client.get(path).status_code == 200
    del settings.BEMI_ADMIN_HISTORY
    assert admin_client.get(path).headers["Location"] == f"{LIST}timeline/todos/todo/{todo.pk}/"
    assert not button(admin_client, f"/admin/todos/todo/{todo.pk}/change/")
    assert admin_client.get("/admin/todos/todo/99/history/").status_code == 302
    # Who may not see the log has Django's.
    assert visitor("todos.view_todo").get(path).status_code == 200


def test_the_mixin_replaces_the_history_of_one_model(
    rf: RequestFactory, admin_user: Any, settings: Any
) -> None:
    settings.BEMI_ADMIN_HISTORY = None

    class TodoAdmin(HistoryMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        pass

    todo = Todo.objects.create(task="Sleep")
    request = rf.get("/")
    request.user = admin_user
    response = TodoAdmin(Todo, admin.site).history_view(request, str(todo.pk))
    assert response.headers["Location"] == f"{LIST}timeline/todos/todo/{todo.pk}/"


def test_the_pages_of_the_log_have_no_button_and_installing_twice_is_once(admin_client: Client) -> None:
    history_button.install()
    record(1)
    assert not button(admin_client, LIST)
    response = admin_client.get("/admin/todos/todo/")
    assert response.content.count(b">Audit trail</a></li>") == 1


def test_deleted_objects_are_those_that_nobody_has_put_back(admin_client: Client) -> None:
    back = Todo.objects.create(task="Back")
    record(1, primary_key=str(back.pk), operation="DELETE", before={"id": back.pk, "task": "Back"}, after={})
    record(2, primary_key="98", operation="DELETE", before={"id": 98, "task": "Once"}, after={})
    record(3, primary_key="98", operation="DELETE", before={"id": 98, "task": "Twice"}, after={})
    record(4, table="tag", primary_key="5", operation="DELETE", before={"id": 5, "name": "Tag"}, after={})
    record(5, table="no_model", primary_key="5", operation="DELETE", before={"id": 5}, after={})

    def gone(query: str = "") -> list[str]:
        response = admin_client.get(f"{LIST}deleted/{query}")
        return [item.row.object.label for item in response.context["deleted"]]

    assert gone() == ["Tag", "Twice"]
    assert gone("?table=todo") == ["Twice"]
    assert Change.objects.count() == 5


def test_the_moment_of_the_last_save_is_neither_named_nor_put_back(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Todo._meta.get_field("created_at"), "auto_now", True)
    todo = Todo.objects.create(task="Wake up")
    old = {"id": todo.pk, "task": "Sleep", "created_at": "2026-01-02T03:04:05+00:00"}
    new = {"id": todo.pk, "task": "Wake up", "created_at": "2026-01-03T03:04:05+00:00"}
    change = record(1, primary_key=str(todo.pk), before=old, after=new)
    timeline = f"{LIST}timeline/todos/todo/{todo.pk}/"
    (step,) = admin_client.get(timeline).context["steps"]
    assert step.named == ["task"]
    assert [(field.label, bool(field.puts_back)) for field in step.fields] == [("task", True)]
    assert step.more == []
    page = admin_client.get(f"{LIST}{change.pk}/change/").content.decode()
    assert "Put back task" in page and "Put back created at" not in page
    history = admin_client.get(f"{timeline}?field=created_at")
    assert history.status_code == 200 and "bemi-put" not in history.content.decode()
    # Where it is all that has changed, it is named.
    record(2, primary_key=str(todo.pk), before=new, after=new | {"created_at": old["created_at"]})
    assert admin_client.get(timeline).context["steps"][0].named == ["created at"]
