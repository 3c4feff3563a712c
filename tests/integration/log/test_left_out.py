"""Blame, instances and reverts know which values the log does not have because settings leave them out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from bemi_django.exceptions import RevertConflict
from bemi_django.log.blame import blame
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from bemi_django.time_travel.save_guard import allow_save
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain


@pytest.fixture
def ignoring(transactional_db: None, settings: Any) -> Iterator[None]:
    """Ignore a column with a default in the model only, and one that may be NULL."""
    settings.BEMI_IGNORE_COLUMNS = ["todo.is_completed", "todo.owner_id"]
    settings.BEMI_AS_OF_PATIENCE = 0
    yield
    settings.BEMI_IGNORE_COLUMNS = []
    tracking.sync()


def todos(drain: Drain) -> list[Any]:
    return [change for change in drain() if change.table == "todo"]


def test_blame_says_which_columns_are_not_recorded(ignoring: None, drain: Drain) -> None:
    todo = Todo.objects.create(task="Sleep")
    (created,) = todos(drain)
    Todo.objects.update(is_completed=True)
    todos(drain)
    found = blame(todo)
    assert found["task"].change == created and not found["task"].is_ignored
    line = found["is_completed"]
    assert (line.value, line.change, line.is_ignored, line.is_pending) == (True, None, True, False)
    output = io.StringIO()
    call_command("bemi", "blame", f"todos.Todo:{todo.pk}", stdout=output)
    (printed,) = [line for line in output.getvalue().splitlines() if line.startswith("is_completed")]
    assert printed.endswith("not recorded")


def test_instances_name_the_fields_that_are_not_known(ignoring: None, drain: Drain) -> None:
    Todo.objects.create(task="Sleep", is_completed=True)
    (created,) = todos(drain)
    todo: Any = created.as_instance()
    assert todo.unknown_fields == {"is_completed", "owner_id"} and todo.task == "Sleep"
    Todo.objects.update(task="Eat")
    todos(drain)
    with as_of(created):
        past: Any = Todo.objects.get()
    assert (past.task, past.is_completed) == ("Sleep", None)
    assert past.unknown_fields == {"is_completed", "owner_id"}
    # Saving puts back what is known and leaves the rest.
    allow_save(past)
    past.save()
    assert list(Todo.objects.values_list("task", "is_completed")) == [("Sleep", True)]


def test_reverting_a_deletion_needs_the_ignored_column_that_has_no_default(
    ignoring: None, drain: Drain
) -> None:
    Todo.objects.create(task="Sleep").delete()
    _, deleted = todos(drain)
    plan = deleted.revert(dry_run=True)
    (conflict,) = plan.conflicts
    assert (conflict.kind, conflict.columns) == ("unavailable", ("is_completed",))
    assert not conflict.is_forcible
    assert "the row needs is_completed" in conflict.text and "ignored" in conflict.text
    with pytest.raises(RevertConflict):
        deleted.revert(on_conflict="force")
    assert not Todo.objects.exists()


def test_reverting_a_deletion_leaves_ignored_columns_to_the_database(ignoring: None, drain: Drain) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE todo ALTER is_completed SET DEFAULT true")
    try:
        Todo.objects.create(task="Sleep").delete()
        _, deleted = todos(drain)
        deleted.revert()
        found = Todo.objects.get()
        assert (found.task, found.is_completed, found.owner) == ("Sleep", True, None)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE todo ALTER is_completed DROP DEFAULT")


def test_reverting_an_update_leaves_ignored_columns_alone(ignoring: None, drain: Drain) -> None:
    Todo.objects.create(task="Sleep")
    Todo.objects.update(task="Eat", is_completed=True)
    updated = todos(drain)[-1]
    Todo.objects.update(is_completed=False)
    updated.revert()
    assert list(Todo.objects.values_list("task", "is_completed")) == [("Sleep", False)]
