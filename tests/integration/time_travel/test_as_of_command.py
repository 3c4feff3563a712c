"""``manage.py bemi as-of``: commands that read, on the database as it was."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

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
