"""Commands and ``as_of()`` where several databases have a part of the log."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from bemi_django.exceptions import HistoryError
from bemi_django.time_travel import as_of
from tests.support.pipeline import Drain

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

TABLES = {"other": {"tables": ["public.todo"]}}


@pytest.fixture
def divided(settings: Any) -> Any:
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
    settings.BEMI_DESTINATIONS = TABLES
    return settings


def refusal(*arguments: str) -> str:
    with pytest.raises(CommandError) as refused:
        call_command("bemi", *arguments)
    return str(refused.value)


@pytest.mark.parametrize("command", ["status", "verify", "prune", "handlers", "run --handlers"])
def test_what_works_on_one_log_wants_to_know_which(divided: Any, command: str) -> None:
    assert "several destinations (BEMI_DESTINATIONS): default, other; say with" in refusal(*command.split())


def test_only_consumers_divide_changes(divided: Any) -> None:
    assert "publish with 'bemi run --to nats://...'" in refusal("run", "--until-current")
    for chosen in ((), ("--destination", "other")):
        said = refusal("skip", "0/1", *chosen)
        assert "a gap would be in one of them alone; drop the slot" in said
        assert "'manage.py bemi run --to nats://... --accept-gap' records one in each" in said
    assert "asks only one which rows it has" in refusal("baseline")
    assert "Debezium are written to one" in refusal("consume", "--format", "debezium", "-")
    queue = "nats://127.0.0.1:1/bemi"
    assert "leave --destination out" in refusal("run", "--to", queue, "--destination", "other")
    assert "'nowhere' is no destination" in refusal("consume", queue, "--destination", "nowhere")


def test_a_table_is_compared_with_the_log_that_has_it(divided: Any) -> None:
    verify = ("verify", "--destination", "default")
    assert "does not have all changes" in refusal(*verify)
    assert "of public.todo are in other: name that one with --destination" in refusal(*verify, "public.todo")
    divided.BEMI_DESTINATIONS = {"other": {"hash": "1/2"}}
    assert "are in other and default: no log has all of its rows" in refusal(*verify, "public.todo")


def test_the_past_needs_all_changes_in_its_database(drain: Drain, divided: Any) -> None:
    with (
        pytest.raises(HistoryError, match=r"also in other \(BEMI_DESTINATIONS\).*everywhere"),
        as_of(timezone.now()),
    ):
        """It is refused."""
    divided.BEMI_DESTINATIONS = {"other": {"databases": ["elsewhere"]}}
    divided.BEMI_AS_OF_PATIENCE = 0
    drain()
    with as_of(timezone.now()), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
