from __future__ import annotations

import io
import re
from argparse import _SubParsersAction
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection

from bemi_django.exceptions import Refused
from bemi_django.management.commands.bemi import Command
from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Todo
from tests.support.pipeline import Pipeline


@pytest.fixture
def slot(transactional_db: None, settings: Any) -> Iterator[None]:
    settings.BEMI_SLOT = "bemi_command"
    tracking.sync()
    yield
    Pipeline.of_project("bemi_command").drop()


def bemi(*arguments: str) -> str:
    out = io.StringIO()
    call_command("bemi", *arguments, stdout=out)
    Pipeline.of_project("bemi_command").release()
    return out.getvalue()


@pytest.mark.administrator
def test_run_creates_what_it_needs_and_writes_the_changes(slot: None) -> None:
    bemi("run", "--until-current")
    Todo.objects.create(task="x")
    assert "1 changes written" in bemi("run", "--until-current")
    assert Change.objects.filter(table="todo").count() == 1


def test_sync_says_what_it_does_and_a_dry_run_does_nothing(slot: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER _bemi_capture ON tag")
        cursor.execute("ALTER TABLE tag REPLICA IDENTITY DEFAULT")
        cursor.execute("ALTER PUBLICATION bemi DROP TABLE tag")
    for arguments, form in ((("sync", "--dry-run"), "to do: {}"), (("sync",), "{}")):
        assert bemi(*arguments).splitlines()[:-1] == [
            form.format(f"{what}: public.tag") for what in ("triggers", "replica identity full", "published")
        ]
    done, coverage = bemi("sync").splitlines()
    assert done == "nothing to do"
    assert re.fullmatch(
        r"\d+ tables tracked, \d+ not: 2 excluded by BEMI_EXCLUDE or by default.*", coverage
    ), coverage


def test_a_publication_that_is_missing_is_made(slot: None, settings: Any) -> None:
    settings.BEMI_PUBLICATION = "another"
    assert "publication: another" in bemi("sync")
    del settings.BEMI_PUBLICATION
    bemi("sync")
    with connection.cursor() as cursor:
        cursor.execute("DROP PUBLICATION another")


@pytest.mark.administrator
def test_a_slot_in_use_is_one_line_not_a_traceback(slot: None, settings: Any) -> None:
    settings.BEMI_SLOT = "not a name"
    with pytest.raises(CommandError, match="cannot create the slot not a name"):
        bemi("run", "--until-current")


@pytest.mark.parametrize("role", ["", "public", "none", "x" * 64, "ä" * 32])
def test_what_cannot_be_a_role_gets_no_rights(role: str) -> None:
    for option in ("worker", "reader", "handlers", "owner"):
        with pytest.raises(CommandError, match="cannot be the name of a role"):
            call_command("bemi", "grants", f"--{option}={role}")


def subcommands() -> Any:
    parser = Command().create_parser("manage.py", "bemi")
    (found,) = [action.choices for action in parser._actions if isinstance(action, _SubParsersAction)]
    return found


@pytest.mark.parametrize("subcommand", sorted(subcommands()))
@pytest.mark.parametrize(
    ("error", "message", "status"),
    [
        (KeyboardInterrupt, "interrupted: the same command can be run again", 130),
        # The end of the input where a question was asked.
        (EOFError, "nothing was done: there was no answer to the question", 1),
    ],
)
def test_whoever_stops_a_command_sees_one_line(
    subcommand: str, error: type[BaseException], message: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(Command, f"_{subcommand.replace('-', '_')}", stopped)
    with pytest.raises(CommandError, match=message) as raised:
        Command().handle(subcommand=subcommand, database="default")
    assert raised.value.returncode == status


@pytest.mark.parametrize("missing", ["FROM _bemi.nothing", "nothing FROM changes", "_bemi.nothing_v1()"])
def test_what_the_log_of_another_version_lacks_is_said_with_what_to_do(
    missing: str, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*arguments: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {missing}")

    monkeypatch.setattr(Command, "_status", ask)
    with pytest.raises(
        CommandError, match="does not exist.*: if another version .*'manage.py migrate bemi_django'"
    ):
        call_command("bemi", "status")

    def refuse(*arguments: object) -> None:
        with pytest.raises(ProgrammingError) as raised:
            ask()
        raise Refused("no such thing: run this") from raised.value

    # What says what to do already.
    monkeypatch.setattr(Command, "_status", refuse)
    with pytest.raises(CommandError, match="^no such thing: run this$"):
        call_command("bemi", "status")


def test_without_a_subcommand_it_prints_its_help(db: None) -> None:
    printed = bemi()
    assert printed.startswith("usage: ") and "write committed changes to the log" in printed


def test_each_subcommand_explains_itself_and_its_arguments() -> None:
    assert len(subcommands()) > 5
    for name, subcommand in subcommands().items():
        assert (subcommand.description or "").endswith("."), f"bemi {name} has no description"
        silent = [action.dest for action in subcommand._actions if not action.help]
        assert not silent, f"bemi {name}: {silent} have no help"


def test_what_is_no_text_is_said(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_names(*_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT convert_from('\\xe9', 'UTF8')")

    monkeypatch.setattr(Command, "_status", read_names)
    with pytest.raises(CommandError, match='for encoding "UTF8": 0xe9: give names and arguments in UTF-8'):
        bemi("status")
