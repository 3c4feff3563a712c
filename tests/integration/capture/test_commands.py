"""Management commands, as a person types them and as code calls them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from bemi_django import bound_context, get_context, set_context
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain
from tests.support.polling import DEADLINE, until
from tests.support.processes import running

MANAGE = "sample_project.manage"


class Command(BaseCommand):
    """Called as an object, it has the name of its module, as others have."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task")
        parser.add_argument("--token")
        parser.add_argument("--own", action="store_true")
        parser.add_argument("--fail", action="store_true")

    def handle(self, *args: Any, task: str, own: bool, fail: bool, **options: Any) -> None:
        if own:
            set_context({"job": "own"})
        Todo.objects.create(task=task)
        if fail:
            raise CommandError("no")


def contexts(changes: list[Change]) -> dict[str, dict[str, Any]]:
    """By the task that was written, without the statement."""
    return {
        change.after["task"]: {
            key: value for key, value in change.context.items() if key not in ("SQL", "command_id")
        }
        for change in changes
        if change.table == "todo"
    }


def test_a_command_that_code_calls_is_named(drain: Drain) -> None:
    with bound_context(user_id=7):
        call_command(Command(), "a", "--token", "secret")
        call_command(Command(), "b", token="secret")
        call_command(Command(), "c", own=True)
        with pytest.raises(CommandError):
            call_command(Command(), "d", fail=True)
        assert get_context() == {"user_id": 7}
    named = {"user_id": 7, "command": "test_commands"}
    changes = drain()
    runs = [change.context["command_id"] for change in changes if "command" in change.context]
    assert len(set(runs)) == len(runs) == 3
    assert contexts(changes) == {
        "a": {**named, "arguments": {"task": "a", "token": "***"}},
        "b": {**named, "arguments": {"task": "b", "token": "***"}},
        "c": {"job": "own"},
        "d": {**named, "arguments": {"task": "d", "fail": True}},
    }


def test_commands_of_the_command_line_are_named(drain: Drain) -> None:
    Todo.objects.create(task="old")
    drain()
    code = "Todo.objects.create(task='from a shell', is_completed=True)"
    with (
        running(MANAGE, "tidy_todos", "--days", "0") as tidy,
        running(MANAGE, "shell", "-c", f"from sample_project.todos.models import Todo; {code}") as shell,
    ):
        assert tidy.wait(DEADLINE) == shell.wait(DEADLINE) == 0
    found = contexts(drain())
    assert found["old"] == {"command": "tidy_todos", "arguments": {"days": 0}}
    assert found["from a shell"]["command"] == "shell"
    # Anything may stand in code.
    assert found["from a shell"]["arguments"] == {"command": "***"}


THREADS = """
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from bemi_django import bound_context, set_context
from django.core.management import call_command
from django.db import connection
from sample_project.todos.models import Todo
from tests.support import child_process

def bare():
    Todo.objects.create(task="bare")

def bound():
    with bound_context(batch=7):
        Todo.objects.create(task="bound")

def replaced():
    set_context({"job": "own"})
    Todo.objects.create(task="replaced")

def command():
    Todo.objects.create(task="old")
    call_command("tidy_todos", days=0)

def run(work):
    work()
    connection.close()

for work in (command, bare, bound, replaced):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, work).result()
connection.close()
for kind in ("fork", "spawn"):
    process = multiprocessing.get_context(kind).Process(target=child_process.write, args=(kind,))
    process.start()
    process.join()
child_process.write_in_interpreter()
"""


def test_threads_and_processes_of_a_command_have_its_context(drain: Drain) -> None:
    with running(MANAGE, "shell", "--no-startup", "-c", THREADS) as shell:
        assert shell.wait(DEADLINE) == 0
    changes = drain()
    assert list(Change.objects.outside().filter(pk__in=[change.pk for change in changes])) == []
    # The old task is there twice: the last change is that of the command called inside.
    found = contexts(changes)
    assert found["bare"]["command"] == found["bound"]["command"] == "shell"
    assert found["bound"]["batch"] == 7
    assert found["replaced"] == {"job": "own"}
    assert found["old"]["command"] == "tidy_todos"
    # What begins anew has no command, but its own hooks.
    for begun, command in (("fork", "shell"), ("spawn", None), ("interpreter", None)):
        assert [found[name].get("command") for name in (begun, f"bare {begun}")] == [command] * 2
        assert found[begun]["job"] == begun


def test_a_command_that_code_calls_is_no_context_of_other_threads(drain: Drain) -> None:
    class Threaded(Command):
        def handle(self, *args: Any, task: str, **options: Any) -> None:
            def write() -> None:
                Todo.objects.create(task=task)
                connection.close()

            with ThreadPoolExecutor(1) as pool:
                pool.submit(write).result()

    call_command(Threaded(), "a")
    assert "command" not in contexts(drain())["a"]


def test_ours_have_no_context(drain: Drain) -> None:
    ours = type("Command", (Command,), {"__module__": "bemi_django.management.commands.bemi"})
    with bound_context(user_id=7):
        call_command(ours(), "a")
    assert contexts(drain()) == {"a": {"user_id": 7}}


@pytest.mark.parametrize("options", [[], ["--noreload", "--nothreading"]])
def test_requests_under_runserver_have_their_own_context(drain: Drain, options: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
    with (
        running(MANAGE, "runserver", address, *options, settings="tests.support.request_settings") as server,
        httpx2.Client(base_url=f"http://{address}", trust_env=False) as client,
    ):
        answer = until(lambda: get(client) or server.poll())
    assert isinstance(answer, httpx2.Response), "the server has ended"
    assert answer.status_code == 200
    context = contexts(drain())["x"]
    assert (context["case"], context["client_request_id"]) == ("x", "r")


def get(client: httpx2.Client) -> httpx2.Response | None:
    try:
        return client.get("/sync_view/", params={"case": "x"}, headers={"X-Request-ID": "r"})
    except httpx2.ConnectError:
        return None
