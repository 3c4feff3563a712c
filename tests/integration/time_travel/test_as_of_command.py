"""``manage.py bemi as-of``: commands that read, on the database as it was."""

from __future__ import annotations

import io
import json
import re

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line

from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.travel import here, settled


def as_of(moment: str, *arguments: str) -> str:
    out = io.StringIO()
    with settled:
        call_command("bemi", "as-of", moment, *arguments, stdout=out)
    return out.getvalue()


def test_it_dumps_what_was_there(drain: Drain) -> None:
    Category.objects.create(name="old")
    (change,) = drain()
    lsn = here()
    Category.objects.update(name="new")
    drain()
    for moment in (lsn, str(change.pk), str(change.transaction_id), change.committed_at.isoformat()):
        (dumped,) = json.loads(as_of(moment, "--", "dumpdata", "shop.Category", "--indent", "2"))
        assert dumped["fields"] == {"name": "old"}


COMMANDS = [
    ("dumpdata", "shop.Category"),
    ("dumpdata", "shop.Category", "--indent", "2"),
    ("dumpdata", "shop", "--format", "jsonl"),
    ("shell", "--no-startup", "-c", "import sys; sys.stdout.write('a'); print('b', '--', end=''); print()"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_it_prints_what_the_command_prints(
    command: tuple[str, ...], drain: Drain, capfd: pytest.CaptureFixture[str]
) -> None:
    Category.objects.bulk_create([Category(pk=1, name="a"), Category(pk=2, name="b\nc")])
    drain()

    def printed(*arguments: str) -> tuple[str, str, str]:
        out = io.StringIO()
        with settled:
            call_command(*arguments, stdout=out)
        return out.getvalue(), *capfd.readouterr()

    assert printed("bemi", "as-of", here(), "--", *command) == printed(*command)


def test_it_prints_to_the_standard_output(drain: Drain, capfd: pytest.CaptureFixture[str]) -> None:
    Category.objects.create(name="a")
    drain()
    dump = ["dumpdata", "shop.Category", "--indent", "1"]
    with settled:
        for arguments in (["bemi", "as-of", here(), "--", *dump], dump):
            execute_from_command_line(["manage.py", *arguments])
    (past, present) = re.findall(r"^\[.*?^\]\n", capfd.readouterr().out, re.DOTALL | re.MULTILINE)
    assert past == present


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["yesterday", "--", "check"], "is not a moment: pass an ISO datetime"),
        (["00000000-0000-8000-8000-000000000000", "--", "check"], "there is no change 0000"),
        (["0/10", "--", "dumpdata", "shop.Category"], "history is complete from"),
        (["2100-01-01T00:00"], "add one after --"),
    ],
)
def test_it_says_what_is_wrong(arguments: list[str], message: str, drain: Drain) -> None:
    with pytest.raises(CommandError, match=message):
        as_of(*arguments)


def test_a_command_that_writes_fails(drain: Drain) -> None:
    with pytest.raises(CommandError, match="The past cannot be changed"):
        as_of(here(), "--", "createsuperuser", "--noinput", "--username", "x", "--email", "x@example.org")
