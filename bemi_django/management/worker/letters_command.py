"""``bemi retry-dead-letters``: read messages again, and remove those that nobody needs."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from bemi_django.ingest.dead_letter_retry import retry
from bemi_django.management.operator_context import record_command
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.schema.replication.slots import slot_of

#: The event that says who has removed letters.
_EVENT = "dismissed_dead_letters"


def retry_letters(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Read the dead letters of a source again, and print how many were repaired.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``dismiss`` and ``reason`` of the command line.
    """
    dismiss = partial(_note_dismissed, database, options["reason"]) if options["dismiss"] else None
    result = retry(worker_config(database, slot_of(database)), dismiss)
    removed = f", {result.removed} removed" if result.removed else ""
    command.stdout.write(f"{result.mended} repaired, {result.kept} kept{removed}")


def _note_dismissed(database: str, reason: str | None, letters: int) -> None:
    """Record in the log of a source who removes letters that belong to no change."""
    arguments = {"dismiss": True}
    record_command(_EVENT, {"letters": letters}, "bemi retry-dead-letters", arguments, database, reason)
