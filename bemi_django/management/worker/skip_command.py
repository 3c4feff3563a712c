"""``bemi skip``: leave a transaction out of the log that the server cannot send."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from bemi_django import destinations
from bemi_django.events.operator_context import operator_context
from bemi_django.ingest.loop.skipping import skip
from bemi_django.management.output.log_output import log_to
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.wire.lsn import format_lsn


def skip_transaction(command: BaseCommand, database: str, lsn: int, reason: str | None) -> None:
    """Leave a transaction out of the log that the server cannot send.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        lsn: Where the transaction commits, in bytes.
        reason: Why, for the context of the gap.

    Raises:
        BemiError: If it cannot be skipped.
    """
    destinations.require_one(
        "a gap would be in one of them alone; drop the slot, and 'manage.py bemi run --to nats://... "
        "--accept-gap' records one in each"
    )
    who = operator_context("bemi skip", {"lsn": format_lsn(lsn)}, database, reason)
    with log_to(command.stdout):
        skipped = skip(worker_config(database), lsn, who=who)
    place = format_lsn(skipped.last)
    if skipped.begin is None:
        command.stdout.write(
            "the server does not tell which transaction it fails at: a GAP was recorded for everything that "
            f"commits from {format_lsn(skipped.first)} to {place}"
        )
    else:
        command.stdout.write(
            f"a GAP was recorded for transaction {skipped.xid}, which commits at {place}: "
            "'manage.py bemi run' continues after it"
        )
