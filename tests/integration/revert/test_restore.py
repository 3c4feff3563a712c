"""``restore()`` puts rows back to how they were at a moment or after a change."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from bemi_django.exceptions import BemiError, RevertConflict
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import move
from tests.support.pipeline import Drain


@pytest.fixture
def versions(drain: Drain) -> list[Change]:
    """A todo that was “a” an hour ago, “b” 40 minutes ago, and is a completed “c” since 20 minutes ago."""
    todo = Todo.objects.create(task="a")
    Todo.objects.update(task="b")
    todo.task, todo.is_completed = "c", True
    todo.save()
    changes = [change for change in drain() if change.table == "todo"]
    for change, minutes in zip(changes, (60, 40, 20), strict=True):
        move(change, timezone.now() - timedelta(minutes=minutes))
    return changes


def state() -> list[tuple[str, bool]]:
    return list(Todo.objects.values_list("task", "is_completed"))


@pytest.mark.parametrize(("minutes", "task"), [(50, "a"), (30, "b"), (10, "c")])
def test_an_object_is_as_it_was_at_a_moment(versions: list[Change], minutes: int, task: str) -> None:
    todo = Todo.objects.get()
    plan = todo.history.restore(timezone.now() - timedelta(minutes=minutes), reason="agreed")
    assert plan.is_applied
    assert state() == [(task, task == "c")]


def test_an_object_is_as_it_was_after_a_change(versions: list[Change], drain: Drain) -> None:
    Todo.objects.get().history.restore(versions[0], reason="agreed")
    assert state() == [("a", False)]
    (done,) = drain()
    assert done.context["reason"] == "agreed"
    assert set(done.context["reverts"]) == {str(change.pk) for change in versions[1:]}


def test_only_some_fields_are_put_back(versions: list[Change]) -> None:
    Todo.objects.get().history.restore(versions[0], fields=["task"])
    assert state() == [("a", True)]


def test_a_plan_writes_nothing(versions: list[Change]) -> None:
    plan = Todo.objects.get().history.restore(versions[0], dry_run=True)
    assert dict(plan.steps[0].values) == {"task": "a", "is_completed": False}
    assert state() == [("c", True)]


def test_a_part_of_a_history_is_pickled_alone(
    versions: list[Change], django_assert_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    history = Todo.objects.get().history.all()
    with django_assert_num_queries(1):
        # Not with the log that it was chosen from.
        kept = pickle.loads(pickle.dumps(history[:2]))
    assert len(kept) == 2 and kept.whole_history is None
    assert history.whole_history and not history.order_by("table").distinct("table").whole_history


def test_what_the_log_does_not_have_yet_is_a_conflict(versions: list[Change]) -> None:
    todo = Todo.objects.get()
    Todo.objects.update(task="d")
    with pytest.raises(RevertConflict):
        todo.history.restore(versions[0])
    assert state() == [("d", True)]
    todo.history.restore(versions[0], on_conflict="force")
    assert state() == [("a", False)]


def test_a_deleted_object_comes_back_and_a_later_one_goes(versions: list[Change], drain: Drain) -> None:
    todo = Todo.objects.get()
    key = todo.pk
    todo.delete()
    Todo.objects.create(task="new")
    drain()
    Todo.history.restore(versions[1])
    assert list(Todo.objects.values_list("pk", "task")) == [(key, "b")]


def test_a_moment_before_the_log_is_complete_is_refused(
    versions: list[Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = timezone.now() - timedelta(minutes=30)
    monkeypatch.setattr("bemi_django.log.undo.complete_from", lambda place: moment)
    todo: Any = Todo.objects.get()
    with pytest.raises(BemiError, match=r"the log of public\.todo is complete only from"):
        todo.history.restore(versions[0])
    todo.history.restore(moment + timedelta(minutes=1))
    assert state() == [("b", False)]


def names(todo: Todo) -> list[str]:
    return sorted(todo.tags.values_list("name", flat=True))


def test_an_object_has_the_many_to_many_rows_of_the_version_unless_told_otherwise(drain: Drain) -> None:
    red, blue, green = (Tag.objects.create(name=name) for name in ("red", "blue", "green"))
    with transaction.atomic():
        todo = Todo.objects.create(task="a")
        todo.tags.set([red, blue])
    other = Todo.objects.create(task="other")
    created = next(change for change in drain() if change.table == "todo")
    Todo.objects.filter(pk=todo.pk).update(task="b")
    todo.tags.set([blue, green])
    other.tags.set([green])
    drain()
    todo.history.restore(created, many_to_many=False)
    assert (Todo.objects.get(pk=todo.pk).task, names(todo)) == ("a", ["blue", "green"])
    Todo.objects.filter(pk=todo.pk).update(task="b")
    drain()
    todo.history.restore(created, fields=["tags"])
    assert (Todo.objects.get(pk=todo.pk).task, names(todo)) == ("b", ["blue", "red"])
    drain()
    # The same history in another order is whole, too.
    todo.history.all().filter().by_time().restore(created)
    assert (Todo.objects.get(pk=todo.pk).task, names(todo)) == ("a", ["blue", "red"])
    drain()
    # And so is the history that is asked of a log by its name.
    Todo.objects.filter(pk=todo.pk).update(task="b")
    todo.tags.set([green])
    drain()
    todo.history.using("default").restore(created)
    assert (Todo.objects.get(pk=todo.pk).task, names(todo)) == ("a", ["blue", "red"])
    drain()
    # Of a part of the history, the rest stays as it is.
    todo.tags.clear()
    drain()
    todo.history.updated().restore(created, on_conflict="force")
    assert names(todo) == [] and names(other) == ["green"]
    with pytest.raises(BemiError, match="has the fields tag"):
        todo.history.restore(created, fields=["tag"])


def test_members_whose_changes_were_removed_from_the_log_are_not_taken_for_unchanged(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = Todo.objects.create(task="a")
    (created,) = drain()
    todo.tags.add(Tag.objects.create(name="red"))
    Todo.objects.update(task="b")
    drain()
    table = Todo.tags.through._meta.db_table
    removed_at = timezone.now()
    monkeypatch.setattr(
        "bemi_django.log.undo.complete_from", lambda place: removed_at if place.table == table else None
    )
    with pytest.raises(BemiError, match=rf"the log of public\.{table} is complete.*many_to_many=False"):
        todo.history.restore(created)
    todo.history.restore(created, many_to_many=False)
    assert (Todo.objects.get().task, names(todo)) == ("a", ["red"])
