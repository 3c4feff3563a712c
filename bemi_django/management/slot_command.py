"""``bemi sync --create-slot``: let recording begin before the worker runs."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from bemi_django.ingest.loop.preparation import PreparedSlot, prepare
from bemi_django.management.output.log_output import log_to
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.status.worker_status import NOT_RUNNING, RUNNING, read_worker
from bemi_django.wire.lsn import format_lsn


def create_slot(command: BaseCommand, database: str, *, dry_run: bool) -> PreparedSlot | None:
    """Create the replication slot of a database and begin its log, before the worker runs.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        dry_run: Only say what would be done.

    Returns:
        The slot, or the one that would be created; None if there was one.

    Raises:
        BemiError: The slot cannot be created, or the log's slot is gone.
    """
    worker = read_worker(database)
    if worker.state == RUNNING or worker.state == NOT_RUNNING and worker.log_end is not None:
        return None
    if dry_run:
        command.stdout.write(f"to do: slot: {worker.slot}")
        return PreparedSlot(worker.slot, 0)
    with log_to(command.stdout):
        made = prepare(worker_config(database, worker.slot))
    command.stdout.write(f"slot: {made.name}, from {format_lsn(made.lsn)} on; the server keeps WAL for it")
    return made
