"""``bemi retry-dead-letters``: read messages again, and remove those that nobody needs."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from bemi_django import conf
from bemi_django.events.operator_context import operator_context, record_command
from bemi_django.ingest.dead_letter_retry import retry
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.schema.replication.slots import slot_of

_COMMAND = "bemi retry-dead-letters"
#: The event that says who has removed letters.
_EVENT = "dismissed_dead_letters"


def retry_letters(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Read the dead letters of a source again, and print how many were repaired.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``dismiss`` and ``reason`` of the command line.
    """
    reason = options["reason"]
    dismiss = partial(_note_dismissed, database, reason) if options["dismiss"] else None
    who = operator_context(_COMMAND, {}, conf.destination(), reason)
    result = retry(worker_config(database, slot_of(database)), dismiss, who)
    if result.mended:
        record_command("retried_dead_letters", {"repaired": result.mended}, _COMMAND, {}, database, reason)
    removed = f", {result.removed} removed" if result.removed else ""
    command.stdout.write(f"{result.mended} repaired, {result.kept} kept{removed}")


def _note_dismissed(database: str, reason: str | None, letters: int) -> None:
    """Record in the log of a source who removes letters that belong to no change."""
    record_command(_EVENT, {"letters": letters}, _COMMAND, {"dismiss": True}, database, reason)
