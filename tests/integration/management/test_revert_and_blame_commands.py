"""``manage.py bemi revert`` and ``bemi blame``, as a person runs them."""

from __future__ import annotations

import io
import os
import pwd
import sys
from typing import Any

import django
import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django import bound_context
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain
from tests.support.project_database import execute


def bemi(*arguments: str) -> str:
    out = io.StringIO()
    call_command("bemi", *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def todo(drain: Drain) -> Todo:
    todo: Todo = Todo.objects.create(task="Sleep", owner=User.objects.create(username="ann"))
    drain()
    with bound_context(user_id=7, request_id="r1"):
        Todo.objects.update(task="Dream")
    drain()
    return todo


def test_a_dry_run_prints_the_plan_and_touches_nothing(todo: Todo) -> None:
    printed = bemi("revert", "--request", "r1", "--dry-run")
    assert printed == f"update public.todo {todo.pk} (task: 'Dream' → 'Sleep')\n"
    assert Todo.objects.get().task == "Dream"


def test_a_request_a_transaction_and_a_change_are_reverted(todo: Todo) -> None:
    change = Change.objects.in_request("r1").get()
    for how in (
        ["--request", "r1"],
        ["--transaction", str(change.transaction_id)],
        ["--change", str(change.pk)],
    ):
        Todo.objects.update(task="Dream")
        assert "1 rows reverted, 0 skipped" in bemi("revert", *how, "--noinput")
        assert Todo.objects.get().task == "Sleep"


def test_conflicts_come_first_and_stop_it(todo: Todo, capsys: Any) -> None:
    Todo.objects.update(task="Wake")
    with pytest.raises(CommandError, match="1 conflict, nothing was reverted; --on-conflict skip"):
        bemi("revert", "--request", "r1", "--noinput")
    assert "0 rows reverted, 1 skipped" in bemi(
        "revert", "--request", "r1", "--on-conflict", "skip", "--noinput"
    )
    bemi("revert", "--request", "r1", "--on-conflict", "force", "--noinput")
    assert Todo.objects.get().task == "Sleep"


@pytest.mark.parametrize(("answer", "task"), [("no", "Dream"), ("yes", "Sleep")])
def test_it_asks_before_it_writes(answer: str, task: str, todo: Todo, monkeypatch: Any) -> None:
    monkeypatch.setattr("builtins.input", lambda question: answer)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    bemi("revert", "--request", "r1")
    assert Todo.objects.get().task == task


def test_one_field_is_put_back(todo: Todo, drain: Drain, monkeypatch: Any) -> None:
    Todo.objects.update(task="Wake", is_completed=True)
    change = drain()[-1]
    with pytest.raises(CommandError, match="has the fields tusk: check their names"):
        bemi("revert", "--change", str(change.pk), "--fields", "tusk")
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    printed = bemi("revert", "--change", str(change.pk), "--fields", "task", "--reason", "asked for")
    assert "(task: 'Wake' → 'Dream')" in printed and "is_completed" not in printed
    assert Todo.objects.values_list("task", "is_completed").get() == ("Dream", True)
    (reverted,) = drain()
    assert reverted.context["reason"] == "asked for"


def test_without_a_terminal_it_says_what_to_add(todo: Todo, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CommandError, match="add --noinput"):
        bemi("revert", "--request", "r1")
    assert Todo.objects.get().task == "Dream"


def test_what_the_log_does_not_know_is_an_error_that_says_so(todo: Todo) -> None:
    with pytest.raises(CommandError, match="has no changes of request r9: .*bemi run"):
        bemi("revert", "--request", "r9")
    with pytest.raises(CommandError, match="the log has no changes of it"):
        bemi("blame", "todos.Todo:999999")
    for name in ("todos.Todo", "todos.Nothing:1", "todos.Todo:x", "todos:1"):
        with pytest.raises(CommandError, match=r"app\.Model:key|the key is missing") as refused:
            bemi("blame", name)
        assert "[" not in str(refused.value)


def test_the_log_says_who_reverted_in_a_shell_and_why(todo: Todo, drain: Drain) -> None:
    bemi("revert", "--request", "r1", "--noinput", "--reason", "ticket 7")
    (change,) = drain()
    context = change.context
    assert (context["command"], context["reason"]) == ("bemi revert", "ticket 7")
    assert context["arguments"] == {"request": "r1"}
    assert context["os_user"] == pwd.getpwuid(os.getuid()).pw_name
    assert context["database_role"] == connection.settings_dict["USER"]
    assert context["reverts"] and "db_user" not in context
    assert not Change.objects.outside().filter(pk=change.pk).exists()


def test_a_row_of_a_table_without_a_model_is_blamed_by_its_name(todo: Todo) -> None:
    for name in ("public.todo", "todo"):
        assert "Dream" in bemi("blame", f"{name}:{todo.pk}")
    with pytest.raises(CommandError, match="neither a model nor a table in the log"):
        bemi("blame", "public.nothing:1")


@pytest.mark.parametrize("name", ['public."a.b:c"', '"public"."a.b:c"', '"a.b:c"'])
def test_a_table_whose_name_has_dots_and_colons_is_named_in_quotes(name: str, drain: Drain) -> None:
    execute('CREATE TABLE "a.b:c" (id text PRIMARY KEY, word text)')
    try:
        execute("""INSERT INTO "a.b:c" VALUES ('x:"y', 'fox')""")
        drain()
        assert "fox" in bemi("blame", f'{name}:x:"y')
    finally:
        execute('DROP TABLE "a.b:c"')


def test_blame_prints_a_table(todo: Todo) -> None:
    lines = [line.split("  ") for line in bemi("blame", f"todos.Todo:{todo.pk}").splitlines()]
    table = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert table[0] == ["column", "value", "before", "user", "when", "request", "operation"]
    task = next(line for line in table if line[0] == "task")
    assert [*task[:4], *task[5:]] == ["task", "Dream", "Sleep", "7", "r1", "UPDATE"]
    Todo.objects.update(task="Wake")
    assert "not in the log yet" in bemi("blame", f"todos.Todo:{todo.pk}")


def test_a_key_of_parts_is_named_with_commas(drain: Drain) -> None:
    if not apps.is_installed("tests.shapes") or django.VERSION < (5, 2):
        pytest.skip("tests.shapes.Line is not installed: aldjemy, or Django before 5.2")
    from tests.shapes.models import Line, Odd

    line = Line.objects.create(order=Odd.objects.create(percent=1, metadata="m"), number=7, text="a")
    drain()
    assert "text      a" in bemi("blame", f"shapes.Line:{line.order_id},7")
    assert "text      a" in bemi("blame", f'shapes.Line:["{line.order_id}", 7]')
    with pytest.raises(CommandError, match="the key has 2 parts"):
        bemi("blame", "shapes.Line:7")
