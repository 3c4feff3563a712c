"""``bemi status``: how recording is doing, for people, scripts and health checks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django.schema.coverage import summary
from bemi_django.schema.database_names import database_name, server_name
from bemi_django.status.recording import Recording, problems_of, read_recording
from bemi_django.status.time_limits import time_limits
from bemi_django.status.units import as_bytes
from bemi_django.status.worker_status import WorkerStatus


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
    with time_limits(database, "5min"):
        found = read_recording(database)
    if options["json"]:
        command.stdout.write(json.dumps(as_json(found), indent=2))
    elif not options["quiet"]:
        for label, value in _lines(found):
            command.stdout.write(f"{label:10} {value}")
    if problems := list(problems_of(found)):
        raise CommandError("\n".join(problems))


def as_json(found: Recording) -> dict[str, Any]:
    """Return the status as values of JSON, with the problems."""
    worker = {name: value for name, value in found.worker._asdict().items() if name != "log_end"}
    if math.isnan(found.worker.lag_seconds):
        worker["lag_seconds"] = None
    end = found.worker.log_end
    log_end = None if end is None else {**end._asdict(), "counters": dict(end.counters)}
    return {
        "database": found.database,
        "recorded_as": database_name(found.database),
        "problems": list(problems_of(found)),
        "worker": {**worker, "log_end": log_end},
        "log": found.log._asdict(),
        "growth": {**found.growth._asdict(), "months": [month._asdict() for month in found.growth.months]},
        "verification": None if found.verification is None else found.verification._asdict(),
        "tables": {
            "tracked": [table.name for table in found.tables if table.is_tracked],
            "untracked": {table.name: table.reason for table in found.tables if not table.is_tracked},
        },
        "left_out": [one._asdict() for one in found.left_out],
        "exports": [one._asdict() for one in found.exports],
        "baselines": [one._asdict() for one in found.baselines],
        "handlers": [
            {
                "handler": standing.handler.name,
                "pending": standing.pending,
                "waited": standing.waited,
                "attempts": standing.attempts,
                "undelivered": standing.aside,
            }
            for standing in found.handlers
        ],
    }


def _lines(found: Recording) -> Iterator[tuple[str, str]]:
    worker, log = found.worker, found.log
    yield "worker", f"{worker.state} (slot {worker.slot})"
    present, recorded = server_name(found.database), database_name(found.database)
    if present != recorded:
        yield "database", f"{present}, which the log has as {recorded}"
    if worker.wal_status:
        seconds = "" if math.isnan(worker.lag_seconds) else f", {worker.lag_seconds:.1f} s"
        yield "lag", f"{as_bytes(worker.lag_bytes)}{seconds}"
        yield "retained", as_bytes(worker.retained_bytes) + _room(worker)
    if worker.queued_bytes:
        yield "queue", f"{as_bytes(worker.queued_bytes)} of WAL published and not in the log yet"
    last = f" up to {log.last_month}" if log.last_month else ""
    yield (
        "log",
        f"{log.table}: {as_bytes(log.size)}, about {log.changes:,} changes, {log.months} months{last}",
    )
    growth = found.growth
    yield (
        "growth",
        f"{as_bytes(growth.bytes_a_day)} a day: {as_bytes(growth.in_30_days)} in 30 days, "
        f"{as_bytes(growth.in_a_year)} in a year, if nothing is removed",
    )
    yield "gaps", _counted(log.gaps, "")
    if log.lost_months:
        yield "lost", f"{', '.join(log.lost_months)}, detached or dropped by hand"
    yield "letters", _counted(log.dead_letters, " that could not be stored completely")
    yield "tables", summary(found.tables)
    for one in found.left_out:
        yield "left out", f"{one.table}: {one}"
    for export in found.exports:
        yield "export", f"{export}, {as_bytes(export.lag_bytes)} behind"
    for baseline in found.baselines:
        yield "baseline", str(baseline)
    yield "verified", "never" if found.verification is None else str(found.verification)
    for standing in found.handlers:
        yield "handler", str(standing)


def _counted(count: int | None, what: str) -> str:
    return "unknown: this role may not read them" if count is None else f"{count}{what}"


def _room(worker: WorkerStatus) -> str:
    limits = [(worker.room_bytes, "the server removes it"), (worker.disk_bytes, "the disk is full")]
    known = [(room, what) for room, what in limits if room is not None]
    if not known:
        return (
            " of WAL; the server keeps it without limit (max_slot_wal_keep_size), and how much the disk has "
            "room for is not known (BEMI_WAL_DISK)"
        )
    room, what = min(known)
    days = f", in about {room / worker.bytes_a_day:.1f} days" if worker.bytes_a_day else ""
    return f" of WAL; {as_bytes(room)} more until {what}{days}"
