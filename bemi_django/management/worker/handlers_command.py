"""``bemi handlers``: the progress of each handler; or deliver again what was kept aside."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from bemi_django import conf
from bemi_django.events.operator_context import record_command
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.models import Undelivered
from bemi_django.status.time_limits import time_limits

#: The event that says who has had changes delivered again.
_RETRIED = "retried_handlers"


def show_or_retry(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Print the progress of each handler; or deliver the undelivered changes, and record who has done it.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``retry`` and ``reason`` of the command line.
    """
    dispatcher = Dispatcher(database)
    if options["retry"]:
        # Before anything is done, as it may be interrupted.
        if letters := Undelivered.objects.using(conf.destination()).count():
            arguments, reason = {"retry": True}, options["reason"]
            record_command(_RETRIED, {"changes": letters}, "bemi handlers", arguments, database, reason)
        delivered, kept = dispatcher.retry()
        command.stdout.write(f"{delivered} handled, {kept} kept")
        return
    with time_limits(database, "5min"):
        standings = dispatcher.standings()
    for standing in standings:
        command.stdout.write(str(standing))
