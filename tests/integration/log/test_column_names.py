"""Names of columns that were changed, exchanged or taken over: each column has its own changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from bemi_django.log.blame import blame, blame_row
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Todo
from tests.support.audit import record
from tests.support.exchanged_names import EXCHANGE as EXCHANGE_OF_TODO
from tests.support.exchanged_names import called, forget_names, todos_with_notes
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.server_conditions import no_event_triggers, sync_as_migrator

EXCHANGE = "ALTER TABLE flag RENAME a TO c; ALTER TABLE flag RENAME b TO a; ALTER TABLE flag RENAME c TO b"


@pytest.fixture
def flag(drain: Drain) -> Iterator[Drain]:
    """A row with equal values, so that only the names tell its columns apart."""
    execute("CREATE TABLE flag (id int PRIMARY KEY, a boolean, b boolean)")
    execute("INSERT INTO flag VALUES (1, true, true)")
    yield drain
    execute("DROP TABLE flag")
    tracking.sync()


def blamed() -> dict[str, str | None]:
    place = Place(connection.settings_dict["NAME"], "public", "flag")
    return {
        column: "ignored" if one.is_ignored else one.change.operation if one.change is not None else None
        for column, one in blame_row(place, "1").items()
    }


def test_columns_that_exchanged_their_names(flag: Drain) -> None:
    execute("UPDATE flag SET a = false")
    execute("UPDATE flag SET a = true")
    execute(EXCHANGE)
    flag()
    assert blamed() == {"id": "CREATE", "a": "CREATE", "b": "UPDATE"}
    Change.objects.filter(operation="UPDATE").asc()[1:2].get().revert()
    assert execute("SELECT a, b FROM flag") == [(True, False)]


def test_a_column_with_the_name_of_one_that_was_dropped(flag: Drain) -> None:
    execute("UPDATE flag SET a = NOT a")
    execute("ALTER TABLE flag DROP COLUMN a, ADD COLUMN a boolean DEFAULT false")
    flag()
    assert blamed() == {"id": "CREATE", "b": "CREATE", "a": None}
    step = Change.objects.get(operation="UPDATE").revert(dry_run=True).steps[0]
    assert (step.action, step.values) == ("nothing", {})


@pytest.mark.parametrize(
    "is_noticed", [True, False], ids=["in the same transaction", "without event triggers"]
)
def test_what_cannot_be_told_is_neither_blamed_nor_put_back(flag: Drain, is_noticed: bool) -> None:
    if is_noticed:
        with transaction.atomic():
            execute("UPDATE flag SET a = false")
            execute(EXCHANGE)
    else:
        with no_event_triggers():
            execute("UPDATE flag SET a = false")
            execute(EXCHANGE)
            sync_as_migrator()
    flag()
    assert blamed() == {"id": "CREATE", "a": "ignored", "b": "ignored"}
    step = Change.objects.get(operation="UPDATE").revert(dry_run=True).steps[0]
    assert step.conflict is not None
    assert step.conflict.kind == "unavailable"


def task_of(change: Change, side: Any = "after") -> str:
    instance = change.as_instance(side)
    assert isinstance(instance, Todo)
    return instance.task


def test_a_renamed_column_is_followed_without_being_declared(drain: Drain) -> None:
    todo = Todo.objects.create(task="a")
    execute("ALTER TABLE todo RENAME task TO title")
    try:
        execute("UPDATE todo SET title = 'b'")
        execute("UPDATE todo SET title = 'c'")
    finally:
        execute("ALTER TABLE todo RENAME title TO task")
    drain()
    changes = list(todo.history.asc())
    assert list(map(task_of, changes)) == ["a", "b", "c"]
    found = blame(Todo.objects.get())["task"]
    assert (found.change, found.previous, found.value) == (changes[2], "b", "c")
    changes[2].revert()
    assert Todo.objects.get().task == "b"


def test_an_instance_has_the_values_of_its_columns_whatever_they_were_called(drain: Drain) -> None:
    with todos_with_notes():
        todo = Todo.objects.create(task="a")
        execute(EXCHANGE_OF_TODO)
        Todo.objects.update(task="b")
        execute("ALTER TABLE todo ADD COLUMN mood text DEFAULT 'good'; UPDATE todo SET mood = 'bad'")
        execute("ALTER TABLE todo DROP COLUMN mood")
        drain()
        created, updated, moody = todo.history.asc()
        assert (task_of(created), vars(created.as_instance())["note"]) == ("n", "a")
        assert (task_of(updated, "before"), task_of(updated)) == ("n", "b")
        assert (vars(moody.as_instance())["mood"], moody.object) == ("bad", todo)


def test_what_an_instance_cannot_be_told_is_unknown(drain: Drain) -> None:
    with todos_with_notes():
        Todo.objects.create(task="a")
        with transaction.atomic():
            Todo.objects.update(task="b")
            execute(EXCHANGE_OF_TODO)
        drain()
        instance: Any = Change.objects.updated().get().as_instance()
        assert instance.unknown_fields == {"task"}
        assert instance.task == ""


def test_rows_that_referred_by_a_column_of_another_name_are_found(drain: Drain) -> None:
    ann, bob = (User.objects.create(username=name) for name in ("ann", "bob"))
    try:
        with called("todo", "owner_id", "keeper_id"):
            for owner in (ann, bob):
                execute(
                    "INSERT INTO todo (task, is_completed, created_at, keeper_id) "
                    "VALUES ('x', false, now(), %s)",
                    [owner.pk],
                )
        Todo.objects.filter(owner=ann).update(owner=bob)
        drain()

        def found(changes: Any) -> list[str]:
            return [change.operation for change in changes.asc() if change.table == "todo"]

        assert found(Change.objects.for_object(ann, related=["todos"])) == ["CREATE", "UPDATE"]
        assert found(Change.objects.for_object(bob, related=True)) == ["CREATE", "UPDATE"]
        assert len(found(Change.objects.everywhere().for_object(ann, related=True))) == 2
        assert found(Change.objects.for_object(ann)) == []
    finally:
        forget_names("todo")


def test_rows_that_refer_by_a_declared_name_are_found(drain: Drain, settings: Any) -> None:
    settings.BEMI_RENAMED_COLUMNS = {"public.todo": {"keeper_id": "owner_id"}}
    ann = User.objects.create(username="ann")
    change = record(1, table="todo", after={"id": 1, "keeper_id": ann.pk})
    record(2, table="todo", after={"id": 2, "keeper_id": ann.pk + 1})
    assert list(Change.objects.for_object(ann, related=["todos"])) == [change]
