"""Commands that change what is recorded, or the log, say in it who has run them."""

from __future__ import annotations

import io
from argparse import _SubParsersAction
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from bemi_django import conf
from bemi_django.management.commands.bemi import Command
from bemi_django.management.worker.record_formats import record_gap
from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.travel import settled

DAY = "2003-05-01 12:00+00"


def told(drain: Drain) -> list[dict[str, Any]]:
    """Return what the log says of commands since the last call."""
    events = [change.context for change in drain() if change.operation == "EVENT"]
    assert all(one["os_user"] and one["database_role"] for one in events)
    return [{key: one.get(key) for key in ("event", "details", "command")} for one in events]


@pytest.fixture
def bare(drain: Drain) -> Iterator[None]:
    execute("CREATE TABLE bare (id int PRIMARY KEY)")
    tracking.sync()
    yield
    execute("DROP TABLE bare")


def test_who_ends_the_tracking_of_a_table(drain: Drain, bare: None, settings: Any) -> None:
    settings.BEMI_EXCLUDE = [*conf.exclude(), "public.bare"]
    call_command("bemi", "sync", "--dry-run", stdout=io.StringIO())
    assert told(drain) == []
    call_command("bemi", "sync", stdout=io.StringIO())
    details = {"tables": ["public.bare"]}
    assert told(drain) == [{"event": "ended_tracking", "details": details, "command": "bemi sync"}]
    del settings.BEMI_EXCLUDE
    call_command("bemi", "sync", stdout=io.StringIO())
    done = [
        f"{what}: public.bare" for what in ("triggers", "replica identity full", "published", "described")
    ]
    synced: dict[str, Any] = {"done": done}
    assert told(drain) == [{"event": "synced", "details": synced, "command": "bemi sync"}]
    call_command("bemi", "sync", stdout=io.StringIO())
    assert told(drain) == []


def test_who_ends_the_tracking_of_a_table_with_migrate(drain: Drain, bare: None, settings: Any) -> None:
    settings.BEMI_EXCLUDE = [*conf.exclude(), "public.bare"]
    call_command("migrate", "todos", verbosity=0)
    details = {"tables": ["public.bare"]}
    assert told(drain) == [{"event": "ended_tracking", "details": details, "command": "migrate"}]


def test_who_reads_the_log_or_the_past(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = Todo.objects.create(task="x")
    drain()
    # Objects of a model may be false.
    monkeypatch.setattr(Todo, "__len__", lambda todo: 0, raising=False)
    for name in (f"todos.Todo:{todo.pk}", f"public.todo:{todo.pk}"):
        call_command("bemi", "blame", name, "--reason", "ticket 7", stdout=io.StringIO())
        (event,) = drain()
        assert (event.schema, event.table, event.primary_key) == ("public", "todo", str(todo.pk))
        assert event.context["event"] == "disclosed" and event.context["os_user"]
        assert (event.context["command"], event.context["reason"]) == ("bemi blame", "ticket 7")
    created = str(Change.objects.get(operation="CREATE").pk)
    call_command("bemi", "revert", "--change", created, "--dry-run", stdout=io.StringIO())
    details: dict[str, Any] = {"change": created}
    assert told(drain) == [{"event": "disclosed", "details": details, "command": "bemi revert"}]
    moment = Change.objects.latest("id").pk
    with settled:
        call_command("bemi", "as-of", str(moment), "--", "dumpdata", "todos.Todo", stdout=io.StringIO())
    details = {"moment": str(moment), "command": "dumpdata"}
    assert told(drain) == [{"event": "disclosed", "details": details, "command": "bemi as-of"}]


def test_each_command_but_those_that_only_measure_takes_a_reason() -> None:
    parser = Command().create_parser("manage.py", "bemi")
    (subcommands,) = [one.choices for one in parser._actions if isinstance(one, _SubParsersAction)]
    silent = {name for name, one in subcommands.items() if "--reason" not in one.format_help()}
    assert silent == {"doctor", "grants", "status"}


def test_who_goes_on_without_records_of_debezium(drain: Drain) -> None:
    record_gap("default", "ticket 7", "messages 1 to 3 were removed")
    details: dict[str, Any] = {"lost": "messages 1 to 3 were removed"}
    assert told(drain) == [{"event": "accepted_gap", "details": details, "command": "bemi consume"}]


@pytest.fixture
def old(drain: Drain) -> Iterator[None]:
    """A table ``old_log`` with a change of May 2003."""
    execute("CREATE TABLE old_log (LIKE changes INCLUDING ALL)")
    execute(
        'INSERT INTO old_log (id, database, schema, "table", operation, committed_at, queued_at, '
        "transaction_id, position) "
        "VALUES ('00000000-0000-8000-8000-000000000001', 'x', 's', 't', 'CREATE', %s, now(), 1, 8)",
        [DAY],
    )
    yield
    execute("DROP TABLE IF EXISTS old_log, changes_2003_05")


def test_who_brings_the_changes_of_another_table_into_the_log(drain: Drain, old: None) -> None:
    call_command("bemi", "convert", "public.old_log", stdout=io.StringIO())
    details = {"table": "public.old_log", "changes": 1}
    assert told(drain) == [{"event": "converted_changes", "details": details, "command": "bemi convert"}]
    call_command("bemi", "convert", "public.old_log", stdout=io.StringIO())
    assert told(drain) == []
    call_command("bemi", "convert", "public.old_log", "--drop", stdout=io.StringIO())
    assert [one["event"] for one in told(drain)] == ["converted_changes"]
