"""Timelines, field histories and states, in the admin and the API, where columns exchanged their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record, visitor
from tests.support.audit_api import answer
from tests.support.exchanged_names import EXCHANGE, called, forget_names, todos_with_notes
from tests.support.pipeline import Drain
from tests.support.project_database import execute

pytestmark = pytest.mark.urls("tests.support.audit_api")


@pytest.fixture
def todo(drain: Drain) -> Iterator[Todo]:
    """A todo whose task was a note before, and whose note was a task."""
    with todos_with_notes():
        todo = Todo.objects.create(task="a")
        Todo.objects.update(task="b")
        execute("UPDATE todo SET note = 'm'")
        execute(EXCHANGE)
        Todo.objects.update(task="c")
        drain()
        yield todo


def test_a_field_has_the_values_of_its_column(admin_client: Client, todo: Todo) -> None:
    def values(field: str) -> list[str]:
        response = admin_client.get(f"{LIST}timeline/todos/todo/{todo.pk}/?field={field}")
        return [one.value.text for one in response.context["values"]]

    assert values("task") == ["c", "m", "n"]
    assert values("note") == ["b", "a"]
    found = answer(admin_client, f"objects/todos/todo/{todo.pk}/fields/task/")
    assert [one["value"] for one in found["results"]] == ["c", "m", "n"]


def test_a_timeline_names_columns_as_they_are_called_now(admin_client: Client, todo: Todo) -> None:
    response = admin_client.get(f"{LIST}timeline/todos/todo/{todo.pk}/")
    steps = [step for step in response.context["steps"] if step.row.change.operation == "UPDATE"]
    fields = [(field.label, field.pair.after.text) for step in steps for field in step.fields]
    assert fields == [("task", "c"), ("task", "m"), ("note", "b")]
    put_back = admin_client.get(steps[1].fields[0].puts_back)
    assert "Set task to n" in put_back.content.decode()
    lines = answer(admin_client, f"objects/todos/todo/{todo.pk}/")["results"]
    assert [(line["changed"], line["after"]["task"]) for line in lines[:3]] == [
        (["task"], "c"),
        (["task"], "m"),
        (["note"], "n"),
    ]


def test_a_state_has_the_values_of_its_columns(admin_client: Client, todo: Todo) -> None:
    (*_, created) = todo.history.asc().reverse()
    found = answer(
        admin_client, f"objects/todos/todo/{todo.pk}/fields/", at=created.committed_at.isoformat()
    )["results"]
    assert {one["name"]: one["value"] for one in found}.items() >= {("task", "n"), ("note", "a")}


def test_a_mask_hides_the_values_of_its_column_under_all_names(todo: Todo, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.note"]
    client = visitor("bemi_django.view_change", "todos.view_todo")
    lines = answer(client, f"objects/todos/todo/{todo.pk}/")["results"]
    assert "'b'" not in str(lines) and "'a'" not in str(lines)


def test_a_mask_of_a_former_name_hides_the_column_under_its_present_one(drain: Drain, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.whisper"]
    todo = Todo.objects.create(task="told once")
    execute("ALTER TABLE todo RENAME task TO whisper")
    execute("UPDATE todo SET whisper = 'told twice'")
    execute("ALTER TABLE todo RENAME whisper TO task")
    try:
        Todo.objects.update(task="told thrice")
        drain()
        newest = Change.objects.updated().desc()[:1].get()
        client = visitor(
            "bemi_django.view_change",
            "bemi_django.revert_change",
            "todos.view_todo",
            "todos.change_todo",
        )
        path = f"{LIST}timeline/todos/todo/{todo.pk}/"
        for page in (f"{LIST}?view=rows", path, f"{path}?field=task", f"{LIST}revert/?change={newest.pk}"):
            response = client.get(page)
            assert response.status_code == 200 and "told" not in response.content.decode(), page
        for page in ("changes/", f"objects/todos/todo/{todo.pk}/fields/"):
            assert "told" not in str(answer(client, page)), page
    finally:
        forget_names("todo")


def test_a_mask_hides_former_names_of_a_table_without_a_model(drain: Drain, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["flag.pin"]
    settings.BEMI_RENAMED_COLUMNS = {"public.flag": {"oldest": "code"}}
    execute("CREATE TABLE flag (id int PRIMARY KEY, code text)")
    try:
        execute("INSERT INTO flag VALUES (1, 'told')")
        execute("ALTER TABLE flag RENAME code TO pin")
        drain()
        record(1, table="flag", before={"id": 1, "oldest": "told before"}, after={"id": 1})
        lines = answer(visitor("bemi_django.view_change"), "changes/")["results"]
        assert len(lines) == 2 and "told" not in str(lines)
    finally:
        execute("DROP TABLE flag")
        tracking.sync()


def test_what_cannot_be_told_is_shown_as_unknown(admin_client: Client, drain: Drain) -> None:
    with todos_with_notes():
        todo = Todo.objects.create(task="a")
        with transaction.atomic():
            Todo.objects.update(task="b")
            execute(EXCHANGE)
        drain()
        response = admin_client.get(f"{LIST}timeline/todos/todo/{todo.pk}/?field=task")
        values = response.context["values"]
        assert [(one.is_unknown, one.value and one.value.text) for one in values if one.change] == [
            (True, None),
            (False, "n"),
        ]
        assert admin_client.get(f"{LIST}timeline/todos/todo/{todo.pk}/").status_code == 200


def test_a_timeline_has_rows_that_referred_by_a_column_of_another_name(
    admin_client: Client, drain: Drain
) -> None:
    tag, todo = Tag.objects.create(name="night"), Todo.objects.create(task="Sleep")
    try:
        with called("todo_tags", "tag_id", "label_id"):
            execute("INSERT INTO todo_tags (todo_id, label_id) VALUES (%s, %s)", [todo.pk, tag.pk])
        drain()
        response = admin_client.get(f"{LIST}timeline/todos/tag/{tag.pk}/")
        changes = [step.row.change for step in response.context["steps"]]
        assert [(change.table, change.operation) for change in changes] == [
            ("todo_tags", "CREATE"),
            ("tag", "CREATE"),
        ]
    finally:
        forget_names("todo_tags")
