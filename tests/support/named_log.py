"""What a project does with its log, whatever the log is called: run as a process with these settings."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.named_log_settings")
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402

from bemi_django import bound_context, conf, on_change  # noqa: E402
from bemi_django.log.blame import blame  # noqa: E402
from bemi_django.models import Change  # noqa: E402
from bemi_django.time_travel import as_of  # noqa: E402
from sample_project.todos.models import Todo  # noqa: E402
from tests.support.polling import until  # noqa: E402

HEARD: list[str] = []
_CREATE = "CREATE TABLE changes (id int PRIMARY KEY, note text)"
_NAMES = """
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT relid FROM pg_partition_tree(_bemi.log_v1()))
   OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = _bemi.log_v1())
UNION ALL
SELECT n.nspname::text, k.conname::text FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
WHERE k.conrelid = _bemi.log_v1()
"""
_OWN = "SELECT id, note FROM public.changes ORDER BY id"


@on_change(Todo, name="listener")
def listen(change: Change) -> None:
    HEARD.append(change.operation)


def run(*arguments: str) -> str:
    """Call a subcommand of ``bemi`` and return what it printed."""
    out = io.StringIO()
    call_command("bemi", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def query(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def install() -> None:
    """Migrate beside a table of the project that is called ``changes``."""
    own = conf.table() != (None, "changes")
    if own:
        query(_CREATE)
        query("INSERT INTO changes VALUES (1, 'before')")
    call_command("migrate", verbosity=0)
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("check", "--database", "default", "--fail-level", "ERROR")
    # The log begins here.
    run("run", "--until-current")
    if own:
        query("INSERT INTO changes VALUES (2, 'after')")


def record() -> Todo:
    """Write rows, in a context, and the log of them."""
    user = get_user_model().objects.create_superuser("amy", password="x")
    with bound_context(user_id=user.pk, request_id="50%"):
        todo = Todo.objects.create(task="100% {sure}", owner=user)
        Todo.objects.update(task="Dream")
        todo.tags.create(name="home")
    run("run", "--until-current")
    assert HEARD == ["CREATE", "UPDATE"], HEARD
    return todo


def ask(todo: Todo) -> None:
    """Query the log by the ORM."""
    changes = Change.objects.for_object(todo)
    assert [change.operation for change in changes] == ["CREATE", "UPDATE"]
    assert changes.after({"task": "100% {sure}"}).in_request("50%").by(todo.owner).count() == 1
    assert changes.field_changed("task", to="Dream").exists()
    assert Change.objects.filter(pk__in=changes.values("pk")).count() == 2
    assert changes.explain()
    assert Change.objects.for_object(todo, related=True).count() == 3
    own = Change.objects.filter(table="changes")
    assert [change.after["note"] for change in own] == (["after"] if has_own() else [])
    assert Todo.history.count() == 2


def go_back(todo: Todo) -> None:
    """Look at the past, and bring it back."""
    first, second = Change.objects.for_object(todo)
    with as_of(first):
        assert Todo.objects.get().task == "100% {sure}"
        with as_of(second):
            assert Todo.objects.get().task == "Dream"
    with as_of(second.committed_at):
        assert Todo.objects.count() == 1
    with as_of(second.transaction_id):
        assert Todo.objects.get().task == "Dream"
    assert blame(todo)["task"].change == second
    assert "Dream" in run("blame", f"todo:{todo.pk}")
    assert second.revert().steps
    run("run", "--until-current")
    todo.refresh_from_db()
    assert todo.task == "100% {sure}"


def administrate(todo: Todo) -> None:
    """Look at the pages of the admin."""
    client = Client()
    client.force_login(todo.owner)  # type: ignore[arg-type]
    first = Change.objects.for_object(todo)[0]
    at = "admin:bemi_django_change_"
    pages = [
        reverse(f"{at}changelist"),
        f"{reverse(f'{at}changelist')}?table=todo&q=Dream",
        f"{reverse(f'{at}changelist')}?since=2020-01-01&until=2099-01-01&operation=UPDATE",
        *(reverse(f"{at}{name}") for name in ("activity", "health", "deleted")),
        f"{reverse(f'{at}export')}?format=csv",
        reverse(f"{at}timeline", args=["todos", "todo", todo.pk]),
        reverse(f"{at}change", args=[first.pk]),
    ]
    for page in pages:
        answer = client.get(page)
        body = b"".join(answer) if answer.streaming else answer.content
        assert answer.status_code == 200, (page, answer.status_code)
        assert b"Todo" in body or b"todo" in body, page


def operate() -> None:
    """Run the commands of an operator."""
    with working():
        verified = run("verify")
    assert "public.todo" in verified and ("public.changes" in verified) == has_own(), verified
    assert run("retry-dead-letters")
    assert not run("sync", "--dry-run").count("index")
    grants = run("grants", "--handlers", "bemi_named_handlers", "--owner", "bemi_named_owner")
    assert conf.table().quoted.replace('"', "") in grants.replace('"', "")
    query("BEGIN; " + grants + "; ROLLBACK")


@contextmanager
def working() -> Iterator[None]:
    """A worker beside the block."""
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'bemi_named_log'"
    command = [sys.executable, "-m", "django", "bemi", "run", "--no-handlers"]
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: query(active) == [(True,)])
        yield
    finally:
        worker.terminate()
        worker.wait()
        until(lambda: query(active) == [(False,)])


def has_own() -> bool:
    """Tell whether the project has a table that is called ``changes`` and is not the log."""
    return bool(query("SELECT to_regclass('public.changes') <> _bemi.log_v1()")[0][0])


def uninstall() -> None:
    """Remove the log and see what is left."""
    own = has_own()
    log = conf.table()
    query(f"TRUNCATE {log.quoted}")
    query("SELECT pg_drop_replication_slot('bemi_named_log')")
    call_command("migrate", "bemi_django", "zero", verbosity=0)
    assert query("SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^_bemi'") == []
    if log.schema not in (None, "public"):
        assert ("public",) in query("SELECT nspname::text FROM pg_namespace")
        assert (log.schema,) not in query("SELECT nspname::text FROM pg_namespace")
    assert query("SELECT 1 FROM pg_class WHERE relkind = 'p'") == []
    if own:
        assert query(_OWN) == [(1, "before"), (2, "after")]


def main(arguments: Sequence[str]) -> None:
    """Do everything, and print the names of what belongs to the log as JSON.

    Args:
        arguments: ``["renamed"]`` if the log is there already.
    """
    if not arguments:
        install()
    # The handler begins here.
    run("run", "--until-current")
    todo = record()
    ask(todo)
    go_back(todo)
    administrate(todo)
    operate()
    if not arguments:
        names = query(_NAMES)
        uninstall()
        json.dump(names, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
