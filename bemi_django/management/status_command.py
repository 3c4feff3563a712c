"""``bemi status``: how recording is doing, for people, scripts and health checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.core.management.base import BaseCommand, CommandError

from bemi_django import conf
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.standing import Standing
from bemi_django.schema.coverage import TableCoverage, read_coverage, summary
from bemi_django.status.log_status import LogStatus, read_log
from bemi_django.status.units import as_bytes
from bemi_django.status.worker_status import NOT_RUNNING, RUNNING, TOO_LATE, WorkerStatus, read_worker


class Status(NamedTuple):
    """What is known of the recording of a database.

    Attributes:
        database: Alias of the database.
        worker: Its worker.
        log: Its log.
        tables: Its tables, and whether each is tracked.
        handlers: The progress of each handler.
    """

    database: str
    worker: WorkerStatus
    log: LogStatus
    tables: list[TableCoverage]
    handlers: list[Standing]


def status(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    """Print the status of a database.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        options: ``json`` and ``quiet`` of the command line.

    Raises:
        CommandError: Something has to be done; the exit status is 1.
        BemiError: The database has no log.
    """
    found = read_status(database)
    if options["json"]:
        command.stdout.write(json.dumps(as_json(found), indent=2))
    elif not options["quiet"]:
        for label, value in _lines(found):
            command.stdout.write(f"{label:10} {value}")
    if problems := list(problems_of(found)):
        raise CommandError("\n".join(problems))


def read_status(database: str) -> Status:
    """Return the status of the recording of a database."""
    tables = read_coverage(database)
    standings = Dispatcher(database).standings()
    return Status(database, read_worker(database), read_log(conf.destination()), tables, standings)


def problems_of(found: Status) -> Iterator[str]:
    """Yield what has to be done, a line each."""
    option = "" if found.database == "default" else f" --database {found.database}"
    run = f"'manage.py bemi run{option}'"
    worker = found.worker
    if worker.state == NOT_RUNNING:
        yield f"the worker is not running, and the server keeps all WAL: start {run}"
    elif worker.state != RUNNING:
        yield f"recording has not begun: start {run}"
    if worker.wal_status == "lost":
        yield f"the server removed WAL that was not read: run {run[:-1]} --accept-gap' to record the gap"
    elif worker.wal_status == "unreserved":
        yield "the server will remove WAL that was not read at its next checkpoint"
    if worker.log_end is not None and worker.log_end.trouble:
        yield worker.log_end.trouble
    if worker.lag_seconds >= TOO_LATE:
        yield f"the log is {worker.lag_seconds:.0f} s behind"
    if lacking := sum(table.needs_sync for table in found.tables):
        yield f"tables that are not up to date: {lacking}; run 'manage.py bemi sync{option}'"
    if found.log.dead_letters:
        yield (
            f"messages that could not be stored completely: {found.log.dead_letters}; run "
            "'manage.py bemi retry-dead-letters'"
        )
    for standing in found.handlers:
        if standing.attempts or standing.aside:
            yield str(standing)


def as_json(found: Status) -> dict[str, Any]:
    """Return the status as values of JSON, with the problems."""
    worker = {name: value for name, value in found.worker._asdict().items() if name != "log_end"}
    end = found.worker.log_end
    log_end = None if end is None else {**end._asdict(), "counters": dict(end.counters)}
    return {
        "database": found.database,
        "problems": list(problems_of(found)),
        "worker": {**worker, "log_end": log_end},
        "log": found.log._asdict(),
        "tables": {
            "tracked": [table.name for table in found.tables if table.is_tracked],
            "untracked": {table.name: table.reason for table in found.tables if not table.is_tracked},
        },
        "handlers": [
            {
                "handler": standing.handler.name,
                "pending": standing.pending,
                "attempts": standing.attempts,
                "undelivered": standing.aside,
            }
            for standing in found.handlers
        ],
    }


def _lines(found: Status) -> Iterator[tuple[str, str]]:
    worker, log = found.worker, found.log
    yield "worker", f"{worker.state} (slot {worker.slot})"
    if worker.wal_status:
        yield "lag", f"{as_bytes(worker.lag_bytes)}, {worker.lag_seconds:.1f} s"
        yield "retained", as_bytes(worker.retained_bytes) + _room(worker)
    last = f" up to {log.last_month}" if log.last_month else ""
    yield (
        "log",
        f"{log.table}: {as_bytes(log.size)}, about {log.changes:,} changes, {log.months} months{last}",
    )
    yield "gaps", f"{log.gaps}"
    yield "letters", f"{log.dead_letters} that could not be stored completely"
    yield "tables", summary(found.tables)
    for standing in found.handlers:
        yield "handler", str(standing)


def _room(worker: WorkerStatus) -> str:
    if worker.room_bytes is None:
        return " of WAL; the server keeps it without limit (max_slot_wal_keep_size)"
    days = f", in about {worker.room_bytes / worker.bytes_a_day:.1f} days" if worker.bytes_a_day else ""
    return f" of WAL; {as_bytes(worker.room_bytes)} more until the server removes it{days}"
