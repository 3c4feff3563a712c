"""Which change gave each column of a row its present value."""

from __future__ import annotations

from bemi_django import bound_context
from bemi_django.log.blame import blame
from sample_project.todos.models import Todo
from tests.support.audit import record
from tests.support.pipeline import Drain


def test_each_column_names_the_change_that_gave_it_its_value(drain: Drain) -> None:
    with bound_context(user_id=7, request_id="r1"):
        todo = Todo.objects.create(task="Sleep")
    with bound_context(user_id=8, request_id="r2"):
        Todo.objects.update(task="Dream")
    with bound_context(user_id=9):
        Todo.objects.update(is_completed=True)
    drain()
    found = blame(todo)
    assert list(found) == ["id", "task", "is_completed", "owner_id", "created_at"]
    task = found["task"]
    assert (task.value, task.previous, task.user_id, task.request_id) == ("Dream", "Sleep", 8, "r2")
    assert task.change is not None and task.committed_at == task.change.committed_at
    assert [found[column].user_id for column in ("id", "is_completed", "created_at")] == [7, 9, 7]


def test_what_the_worker_has_not_written_yet_is_pending(drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    drain()
    Todo.objects.update(task="Dream")
    task = blame(todo)["task"]
    assert (task.value, task.change, task.is_pending) == ("Dream", None, True)
    Todo.objects.all().delete()
    drain()
    assert blame(todo)["task"].value == "Dream"
    Todo.objects.create(pk=todo.pk, task="Wake")
    found = blame(todo)
    assert list(found)[:2] == ["id", "task"] and all(line.is_pending for line in found.values())


def test_a_row_is_followed_to_the_keys_that_it_had(drain: Drain) -> None:
    with bound_context(user_id=1):
        todo = Todo.objects.create(task="x")
    with bound_context(user_id=2):
        Todo.objects.update(id=todo.pk + 100)
        Todo.objects.create(id=todo.pk, task="another")
    drain()
    found = blame(Todo(pk=todo.pk + 100))
    assert (found["id"].user_id, found["id"].previous, found["task"].user_id) == (2, todo.pk, 1)


def test_values_older_than_the_log_have_no_change(drain: Drain) -> None:
    todo = Todo.objects.create(task="x")
    drain()
    from bemi_django.models import Change

    Change.objects.all().delete()
    Todo.objects.update(task="y")
    drain()
    found = blame(todo)
    assert found["task"].change is not None
    assert (found["id"].value, found["id"].change, found["id"].is_pending) == (todo.pk, None, False)


def test_a_key_of_another_type_leaves_the_row_as_the_log_has_it(db: None) -> None:
    todo = Todo.objects.create(task="Sleep")
    change = record(
        1, primary_key=str(todo.pk), operation="CREATE", before={}, after={"id": "one", "task": "x"}
    )
    found = blame(todo)
    assert (found["task"].value, found["task"].change) == ("x", change)
