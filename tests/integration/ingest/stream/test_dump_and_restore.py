"""A database and its log are restored to another server, whose WAL has not come as far."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from bemi_django import on_change
from bemi_django.exceptions import HistoryError, LostHistory
from bemi_django.handlers import registry
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.time_travel import as_of
from sample_project.todos.models import Todo
from tests.support.audit import LIST, as_rows
from tests.support.cluster import Cluster
from tests.support.pipeline import Drain, Pipeline
from tests.support.processes import database_url
from tests.support.project_database import execute, moved
from tests.support.travel import here, settled

QUICK = Rhythm(first_pause=0.05, longest_pause=0.1, look=0.01, note=0.0, grace=0.3)
POSITION = "SELECT pg_current_wal_insert_lsn() - '0/0'"


@contextmanager
def restored(psql: str) -> Iterator[None]:
    """Dump the tests' database, and let Django's default connection lead to a copy on another server."""
    name = connection.settings_dict["NAME"]
    programs, url = Path(psql).parent, database_url()
    connection.close()
    roles, dump = (
        subprocess.run([programs / program, *arguments], check=True, capture_output=True).stdout
        for program, arguments in (
            ("pg_dumpall", ["--roles-only", "--no-role-passwords", "--dbname", url]),
            ("pg_dump", ["--dbname", url]),
        )
    )
    with closing(Cluster()) as other:
        other.run(f"CREATE DATABASE {name}")
        there = {**other.parameters, "dbname": name}
        address = " ".join(f"{key}={value}" for key, value in there.items())
        # A role that is there already, such as the superuser, is an error that ends nothing.
        subprocess.run([psql, "-qXd", address], input=roles, check=True, capture_output=True)
        subprocess.run(
            [psql, "-qXd", address, "-v", "ON_ERROR_STOP=1"], input=dump, check=True, capture_output=True
        )
        # The role is the superuser of the one and of the other, under the password that it has here.
        address_of_other = {"HOST": there["host"], "PORT": str(there["port"]), "USER": there["user"]}
        with moved(**address_of_other, PASSWORD=there["password"]):
            yield


class Heard(list[str]):
    """The tasks that a handler was told of."""

    def listen(self) -> None:
        @on_change(Todo, name="of a restored project")
        def handle(change: Change) -> None:
            self.append(change.after["task"])

        handler = registry.registered.pop("of a restored project")
        Dispatcher("default", [handler], rhythm=QUICK).run(until_current=True)


def first_of_list(client: Client) -> str:
    """Return the newest change on the first page of the list."""
    response = client.get(f"{LIST}{as_rows()}")
    assert response.status_code == 200
    return str(response.context["rows"][0].change.pk)


@pytest.fixture
def heard(transactional_db: None) -> Iterator[Heard]:
    yield Heard()
    execute("DELETE FROM _bemi.handlers")


# The copy has the roles of the server, and a superuser reads them.
@pytest.mark.administrator
def test_new_changes_sort_after_those_of_the_server_before(
    drain: Drain, heard: Heard, admin_client: Client, psql: str, settings: Any
) -> None:
    settings.BEMI_SLOT = "bemi_test"
    # Segments of the WAL that hold nothing.
    for _ in range(4):
        execute("SELECT pg_logical_emit_message(false, 'end', ''), pg_switch_wal()")
    heard.listen()
    todo = Todo.objects.create(task="Sleep")
    Todo.objects.create(task="Dream")
    drain()
    heard.listen()
    before: datetime = execute("SELECT clock_timestamp()")[0][0]
    todo.task = "Eat"
    todo.save()
    drain()
    heard.listen()
    assert heard == ["Sleep", "Dream", "Eat"]
    old = list(Change.objects.asc())
    ((ended,),) = execute(POSITION)
    with restored(psql), settled:
        assert execute(POSITION)[0][0] < old[-1].position < ended
        pipeline = Pipeline.of_project("bemi_test")
        with pytest.raises(LostHistory, match="the server is another one"):
            pipeline.run()
        pipeline.run(pipeline.config._replace(accept_gap=True))
        moment = here()
        between: datetime = execute("SELECT clock_timestamp()")[0][0]
        todo.task = "Wake up"
        todo.save()
        pipeline.run()
        newest = Change.objects.desc()[0]
        assert newest.after["task"] == "Wake up" and newest.position < old[-1].position
        assert [change.operation for change in Change.objects.asc()][len(old) :] == ["GAP", "UPDATE"]
        assert list(Change.objects.asc())[: len(old)] == old
        assert Change.objects.for_object(todo).desc()[0] == newest
        assert blame(todo)["task"].change == newest
        assert first_of_list(admin_client) == str(newest.pk)
        heard.listen()
        assert heard == ["Sleep", "Dream", "Eat", "Wake up"]
        for known in (moment, between):
            with as_of(known):
                assert Todo.objects.get(pk=todo.pk).task == "Eat"
        with as_of(newest):
            assert Todo.objects.get(pk=todo.pk).task == "Wake up"
        # What the log does not know is not guessed.
        with pytest.raises(HistoryError), as_of(before):
            Todo.objects.get(pk=todo.pk)
