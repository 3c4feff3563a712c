"""Record in the log who has read it, or the past, with a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError

from bemi_django.events.operator_context import record_command
from bemi_django.events.recording import Row
from bemi_django.exceptions import BemiError, first_line


def record_reading(
    command: BaseCommand,
    name: str,
    details: Mapping[str, Any],
    database: str,
    reason: str | None,
    of: Row | None = None,
) -> None:
    """Record in the log of a source that somebody reads values with a command, or say why it cannot be.

    Who may only read the log, or has a standby, reads it all the same.

    Args:
        command: The command, for its output.
        name: Its name, such as ``bemi blame``.
        details: What is read.
        database: Alias of the source.
        reason: Why.
        of: The object, or the row, whose values are read.
    """
    try:
        record_command("disclosed", details, name, {}, database, reason, of)
    except (BemiError, DatabaseError) as error:
        command.stderr.write(f"it was not recorded who has read this: {first_line(error)}")
