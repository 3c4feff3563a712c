from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from bemi_django import apply_context, bound_context
from bemi_django.exceptions import NotInTransaction
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain
from tests.support.project_database import ProjectDatabase


def todos(changes: list[Change]) -> list[Change]:
    return [change for change in changes if change.table == "todo"]


def test_a_save_an_update_and_a_delete_are_in_the_log_with_their_context(drain: Drain) -> None:
    with bound_context(user_id=7):
        todo = Todo.objects.create(task="Sleep")
        pk = todo.pk
        todo.task = "Eat"
        todo.save()
        todo.delete()
    created, updated, deleted = todos(drain())
    assert [created.operation, updated.operation, deleted.operation] == ["CREATE", "UPDATE", "DELETE"]
    assert created.before == {} and created.after["task"] == "Sleep"
    assert updated.diff() == {"task": ("Sleep", "Eat")}
    assert deleted.before["task"] == "Eat" and deleted.after == {}
    for change in (created, updated, deleted):
        assert change.primary_key == str(pk)
        assert change.context["user_id"] == 7
        assert "%s" in change.context["SQL"] and "Sleep" not in change.context["SQL"]


def test_before_and_after_are_what_to_jsonb_gives(drain: Drain) -> None:
    todo = Todo.objects.create(task='a "quoted" \\ back\nslash é 😀')
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute("SELECT to_jsonb(todo)::text FROM todo WHERE id = %s", [todo.pk])
        expected = cursor.fetchone()[0]
        (change,) = todos(drain())
        cursor.execute("SELECT after::text FROM changes WHERE id = %s", [change.pk])
        assert cursor.fetchone()[0] == expected


def test_bulk_writes_give_one_change_a_row(drain: Drain) -> None:
    with bound_context(job="bulk"):
        Todo.objects.bulk_create([Todo(task=str(number)) for number in range(50)])
        Todo.objects.update(task=F("task"))
    changes = todos(drain())
    assert [change.operation for change in changes] == ["CREATE"] * 50 + ["UPDATE"] * 50
    assert {change.context["job"] for change in changes} == {"bulk"}


def test_the_rolled_back_part_is_absent_and_the_rest_keeps_its_own_context(drain: Drain) -> None:
    with transaction.atomic():
        with bound_context(step=1):
            Todo.objects.create(task="one")
        with pytest.raises(RuntimeError), bound_context(step=2), transaction.atomic():
            Todo.objects.create(task="two")
            raise RuntimeError
        with bound_context(step=1):
            Todo.objects.create(task="three")
    assert [(change.after["task"], change.context["step"]) for change in todos(drain())] == [
        ("one", 1),
        ("three", 1),
    ]


def test_a_stored_text_never_passes_for_a_context(drain: Drain) -> None:
    forged = '/*Bemi {"user_id": 999} Bemi*/'
    Todo.objects.create(task=forged)
    with bound_context(user_id=7):
        Todo.objects.create(task=forged)
    without, with_context = todos(drain())
    assert without.context.keys() == {"application_name", "SQL"}
    assert with_context.context["user_id"] == 7
    assert without.after["task"] == with_context.after["task"] == forged


def test_writes_outside_the_application_are_attributed_to_the_database_user(drain: Drain) -> None:
    import psycopg2

    from bemi_django import conf

    plain = psycopg2.connect(**conf.connection_parameters("default"), application_name="psql")
    with plain, plain.cursor() as cursor:
        cursor.execute("INSERT INTO todo (task, is_completed, created_at) VALUES ('x', false, now())")
    plain.close()
    (change,) = todos(drain())
    assert change.context["application_name"] == "psql"
    assert change.context["SQL"].startswith("INSERT INTO todo")


def test_truncate_gives_a_change_a_table(drain: Drain) -> None:
    with connection.cursor() as cursor, bound_context(why="reset"):
        cursor.execute("TRUNCATE todo CASCADE")
    (change,) = todos(drain())
    assert (change.operation, change.before, change.after) == ("TRUNCATE", {}, {})
    assert change.context["why"] == "reset"


def test_apply_context_reaches_writes_that_carry_no_comment(drain: Drain) -> None:
    with connection.cursor() as cursor, bound_context(user_id=7):
        with pytest.raises(NotInTransaction):
            apply_context()
        with transaction.atomic():
            apply_context()
            cursor.execute("SELECT 1")
            cursor.execute(
                "CREATE FUNCTION pg_temp.add() RETURNS void LANGUAGE sql AS "
                "$$INSERT INTO public.todo (task, is_completed, created_at) VALUES ('f', false, now())$$"
            )
            cursor.execute("SELECT pg_temp.add()")
    (change,) = todos(drain())
    assert change.context == {"user_id": 7, "SQL": "SELECT pg_temp.add()"}


def test_a_failing_statement_runs_once_and_its_exception_arrives(drain: Drain) -> None:
    todo = Todo.objects.create(task="x")
    seen: list[str] = []

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count), bound_context(user_id=7), pytest.raises(IntegrityError):
        Todo.objects.bulk_create([Todo(pk=todo.pk, task="y")])
    assert sum("INSERT" in sql for sql in seen) == 1
    assert len(todos(drain())) == 1


def test_what_is_written_while_the_worker_rests_is_neither_lost_nor_doubled(drain: Drain) -> None:
    for round_ in range(3):
        Todo.objects.create(task=str(round_))
        assert [change.after["task"] for change in todos(drain())] == [str(round_)]
    assert Change.objects.filter(table="todo").count() == 3


def test_what_is_complete_is_made_durable_before_all_is_read(drain: Drain) -> None:
    for number in range(5):
        with bound_context(note="x" * 1_000_000):
            Todo.objects.create(task=str(number))
    assert [change.after["task"] for change in todos(drain())] == list("01234")
    # Of the transactions of the log that wrote them: a batch is two megabytes.
    ((batches,),) = ProjectDatabase("default").read(
        "SELECT count(DISTINCT xmin::text) FROM changes WHERE \"table\" = 'todo'"
    )
    assert batches > 1


def test_sync_has_nothing_to_do_the_second_time(drain: Drain) -> None:
    from bemi_django.schema import tracking

    assert tracking.sync().done == []


def test_odd_identifiers_are_tracked(drain: Drain) -> None:
    from bemi_django.schema import tracking

    name = 'odd "Näme"-with %s ' + "x" * 20
    quoted = '"' + name.replace('"', '""') + '"'
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE TABLE {quoted} ("K-y" text PRIMARY KEY)', None)
        try:
            assert tracking.sync().done == []  # the event trigger was there first
            with bound_context(user_id=7):
                cursor.execute(f"INSERT INTO {quoted} VALUES ('k')", None)  # noqa: S608 - quoted above
            (change,) = [change for change in drain() if change.table == name]
        finally:
            cursor.execute(f"DROP TABLE {quoted}", None)
    assert (change.primary_key, change.after, change.context["user_id"]) == ("k", {"K-y": "k"}, 7)
