"""A revert writes what the user could write in the admin, and exactly what was confirmed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib.admin import site
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client

from bemi_django.admin.pages.reverts import revert_plan
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, visitor
from tests.support.pipeline import Drain

REVERT = f"{LIST}revert/"
REVERTER = ("bemi_django.view_change", "bemi_django.revert_change")
TODO = tuple(f"todos.{action}_todo" for action in ("view", "add", "change", "delete"))
USER = tuple(f"auth.{action}_user" for action in ("view", "add", "change", "delete"))


def confirm(client: Client, query: str, **fields: str) -> Any:
    plan = client.get(f"{REVERT}{query}")
    assert plan.status_code == 200
    return client.post(f"{REVERT}{query}", {"digest": plan.context["digest"], **fields}, follow=True)


def todos(drain: Drain) -> list[Change]:
    """The new changes of todos, without those of sessions and permissions."""
    return [change for change in drain() if change.table == "todo"]


class DisabledForm(forms.ModelForm):  # type: ignore[type-arg]
    task = forms.CharField(disabled=True)

    class Meta:
        model = Todo
        fields = ["task", "is_completed", "owner"]


RESTRICTIONS: dict[str, tuple[str, object]] = {
    "readonly_fields": ("readonly_fields", ("task",)),
    "exclude": ("exclude", ("task",)),
    "fields": ("fields", ("is_completed", "owner")),
    "fieldsets": ("fieldsets", ((None, {"fields": ("is_completed",)}),)),
    "disabled": ("form", DisabledForm),
    "get_readonly_fields": ("get_readonly_fields", lambda request, obj=None: ("task",) if obj else ()),
    "broken": ("get_readonly_fields", lambda request, obj=None: 1 / 0),
}


@pytest.mark.parametrize(
    ("name", "is_superuser"), [*((name, False) for name in RESTRICTIONS), ("readonly_fields", True)]
)
def test_fields_that_the_admin_makes_readonly_are_conflicts(
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
    client: Client,
    admin_user: Any,
    name: str,
    is_superuser: bool,
) -> None:
    Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    Todo.objects.update(is_completed=True)
    _, renamed, completed = todos(drain)
    attribute, value = RESTRICTIONS[name]
    monkeypatch.setattr(site._registry[Todo], attribute, value, raising=False)
    if is_superuser:
        client.force_login(admin_user)
    else:
        client = visitor(*REVERTER, *TODO)
    response = client.get(f"{REVERT}?change={renamed.pk}")
    (line,) = response.context["conflicts"]
    assert (line.step.conflict.kind, line.step.conflict.columns) == ("read_only", ("task",))
    assert "you may not edit these fields in the admin" in response.content.decode()
    assert response.context["modes"] == []
    for mode in ("stop", "skip", "force"):
        confirm(client, f"?change={renamed.pk}", on_conflict=mode)
        assert Todo.objects.get().task == "b"
    if name != "broken":
        confirm(client, f"?change={completed.pk}")
        assert Todo.objects.get().is_completed is False


def test_who_may_not_make_superusers_cannot_do_it_by_a_revert(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = get_user_model()
    user_admin = site._registry[model]
    fields = ((None, {"fields": ("username", "first_name", "is_active")}),)
    monkeypatch.setattr(user_admin, "get_fieldsets", lambda request, obj=None: fields)
    user = model.objects.create(username="bob", is_superuser=True)
    group = Group.objects.create(name="admins")
    user.groups.add(group)
    model.objects.filter(pk=user.pk).update(is_superuser=False)
    user.groups.clear()
    user.delete()
    changes = drain()
    client = visitor(*REVERTER, *USER, name="helper")
    for change in (c for c in changes if c.table in ("auth_user", "auth_user_groups")):
        confirm(client, f"?change={change.pk}", on_conflict="skip")
        confirm(client, f"?change={change.pk}", on_conflict="force")
    assert not model.objects.filter(is_superuser=True).exists()
    assert not model.groups.through.objects.exists()


def test_skipping_leaves_out_the_rows_with_readonly_fields(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Todo.objects.create(task="a")
    tag = Tag.objects.create(name="night")
    drain()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE todo SET task = 'b'; UPDATE tag SET name = 'day'")
    change = todos(drain)[0]
    monkeypatch.setattr(site._registry[Tag], "readonly_fields", ("name",))
    client = visitor(*REVERTER, *TODO, "todos.view_tag", "todos.change_tag")
    query = f"?transaction={change.pk}"
    assert client.get(f"{REVERT}{query}").context["modes"] == ["skip"]
    confirm(client, query, on_conflict="skip")
    first.refresh_from_db()
    tag.refresh_from_db()
    assert (first.task, tag.name) == ("a", "day")


def test_the_values_that_overwriting_would_write_are_shown(
    drain: Drain, client: Client, admin_user: Any
) -> None:
    client.force_login(admin_user)
    Todo.objects.create(task="first")
    Todo.objects.update(task="second")
    _, change = todos(drain)
    Todo.objects.update(task="third")
    response = client.get(f"{REVERT}?change={change.pk}")
    (line,) = response.context["conflicts"]
    assert line.forced == [("task", "third", "first")]
    (field,) = response.context["fields"]
    assert (field.pair.before.text, field.pair.after.text) == ("third", "first")
    # Skipping the only row would do nothing.
    assert response.context["modes"] == ["force"]


@pytest.mark.parametrize("operation", ["TRUNCATE", "SKIPPED", "GAP"])
def test_what_cannot_be_reverted_has_no_button(admin_client: Client, operation: str) -> None:
    from tests.support.audit import record

    change = record(1, operation=operation, primary_key=None, before={}, after={})
    response = admin_client.get(f"{REVERT}?change={change.pk}")
    assert response.context["modes"] == []
    assert b"bemi-danger" not in response.content


def test_nothing_done_is_no_success(drain: Drain, client: Client, admin_user: Any) -> None:
    client.force_login(admin_user)
    Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    _, change = todos(drain)
    Todo.objects.update(task="c")
    response = confirm(client, f"?change={change.pk}", on_conflict="skip")
    assert [message.level_tag for message in response.context["messages"]] == ["warning"]


RACES: dict[str, Callable[[], object]] = {
    "another value": lambda: Todo.objects.update(task="c"),
    "deleted": lambda: Todo.objects.all().delete(),
    "reverted already": lambda: Todo.objects.update(task="a"),
}


@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("mode", ["stop", "skip", "force"])
def test_a_row_that_changes_after_the_check_is_not_written(
    drain: Drain, client: Client, admin_user: Any, monkeypatch: pytest.MonkeyPatch, race: str, mode: str
) -> None:
    client.force_login(admin_user)
    Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    _, change = todos(drain)
    apply = revert_plan._apply

    def meanwhile(*arguments: Any) -> Any:
        RACES[race]()
        return apply(*arguments)

    monkeypatch.setattr(revert_plan, "_apply", meanwhile)
    response = confirm(client, f"?change={change.pk}", on_conflict=mode)
    assert response.status_code == 200
    tasks = list(Todo.objects.values_list("task", flat=True))
    assert tasks == {"another value": ["c"], "deleted": [], "reverted already": ["a"]}[race]
