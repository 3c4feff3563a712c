"""Everything that is known of the recording of a database, and what has to be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bemi_django import conf
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.standing import Standing
from bemi_django.schema.coverage import TableCoverage, read_coverage
from bemi_django.schema.database_names import about, database_option
from bemi_django.schema.search_path import closed_cursor
from bemi_django.status.baselines import UnfinishedBaseline, read_baselines
from bemi_django.status.exports import ExportStatus, problem_of, read_exports
from bemi_django.status.last_verification import LastVerification, read_last_verification
from bemi_django.status.log_growth import LogGrowth, read_growth
from bemi_django.status.log_status import LOST, LogStatus, read_log
from bemi_django.status.omissions import LeftOut, read_omissions
from bemi_django.status.worker_status import (
    NOT_RUNNING,
    ON_STANDBY,
    RUNNING,
    TOO_LATE,
    WorkerStatus,
    read_worker,
)

_MAY_READ_HANDLERS = """
SELECT has_table_privilege(_bemi.log_v1(), 'SELECT') AND has_table_privilege('_bemi.handlers', 'SELECT')
    AND has_table_privilege('_bemi.undelivered', 'SELECT')
"""
_PAST = (
    "the slot is past the end of the log: start 'manage.py bemi consume' if there is a queue, and if it "
    "runs, 'manage.py bemi doctor' says whether the queue has lost changes; without one, something else has "
    "read the slot, and 'manage.py bemi run --accept-gap' records the gap"
)


class Recording(NamedTuple):
    """The recording of a database.

    Attributes:
        database: Alias of the database.
        worker: Its worker.
        log: Its log.
        tables: Its tables, and whether each is tracked.
        handlers: The progress of each handler; none if the role may not read it.
        verification: The last time that the log was compared with the tables; None if never.
        growth: How the log grows.
        left_out: What the settings have left out of the log, by table.
        baselines: Baselines that have not ended.
        exports: What the changes are exported to.
    """

    database: str
    worker: WorkerStatus
    log: LogStatus
    tables: list[TableCoverage]
    handlers: list[Standing]
    verification: LastVerification | None
    growth: LogGrowth
    left_out: Sequence[LeftOut] = ()
    baselines: Sequence[UnfinishedBaseline] = ()
    exports: Sequence[ExportStatus] = ()


def read_recording(database: str) -> Recording:
    """Return the status of the recording of a database.

    Args:
        database: Alias of the source.

    Raises:
        NotInstalled: The database has no log.
    """
    tables = read_coverage(database)
    log, verification = read_log(conf.destination()), read_last_verification(database)
    standings = read_standings(database)
    growth, left_out = read_growth(conf.destination()), read_omissions(database)
    worker = read_worker(database)
    beside = read_baselines(database), read_exports(database)
    return Recording(database, worker, log, tables, standings, verification, growth, left_out, *beside)


def read_standings(database: str) -> list[Standing]:
    """Return the progress of each handler; nothing to a role that may not read it.

    That is the role of a worker that calls no handlers.
    """
    with closed_cursor(conf.destination()) as cursor:
        cursor.execute(_MAY_READ_HANDLERS)
        (may_read,) = cursor.fetchone()
    return Dispatcher(database).standings() if may_read else []


def problems_of(found: Recording) -> Iterator[str]:
    """Yield what has to be done, a line each."""
    option = database_option(found.database)
    worker = found.worker
    if worker.has_begun or not found.exports:
        yield from _of_worker(worker, f"'manage.py bemi run{option}'")
    yield from filter(None, map(problem_of, found.exports))
    if worker.log_end is not None and worker.log_end.trouble:
        yield about(found.database, worker.log_end.trouble)
    if worker.queued_bytes and worker.log_end is not None and worker.log_end.age >= TOO_LATE:
        yield about(found.database, _PAST)
    if worker.is_held_up:
        yield _held_up(worker)
    elif worker.lag_seconds >= TOO_LATE:
        yield f"the log is {worker.lag_seconds:.0f} s behind"
    due = [table for table in found.tables if table.needs_sync]
    if left_out := sum(table.is_tracked and not table.is_chosen for table in due):
        yield (
            f"tables that are recorded though the settings leave them out: {left_out}; name them in "
            f"BEMI_INCLUDE, or to record them no longer, run 'manage.py bemi sync{option}'"
        )
    if lacking := len(due) - left_out:
        yield f"tables that are not up to date: {lacking}; run 'manage.py bemi sync{option}'"
    if found.log.lost_months:
        yield LOST.format(", ".join(found.log.lost_months))
    if found.log.dead_letters:
        yield (
            f"messages that could not be stored completely: {found.log.dead_letters}; run "
            "'manage.py bemi retry-dead-letters'"
        )
    if found.verification is not None and found.verification.wrong:
        yield (
            f"tables that differ from the log: {found.verification.wrong}; run "
            f"'manage.py bemi verify{option}', and with --accept when the differences are understood"
        )
    yield from filter(None, (_of_handler(standing, option) for standing in found.handlers))


def _of_handler(standing: Standing, option: str) -> str:
    if standing.attempts or standing.aside:
        return str(standing)
    if standing.waited < TOO_LATE:
        return ""
    return (
        f"{standing}, and none was handled for {standing.waited:.0f} s: start "
        f"'manage.py bemi run --handlers{option}' where the worker does not call it"
    )


def _held_up(worker: WorkerStatus) -> str:
    age = 0 if worker.log_end is None else worker.log_end.age
    return (
        f"the worker is connected, but nothing has arrived in the log for {age:.0f} s, though WAL has waited "
        f"for {worker.waited_seconds:.0f} s or longer: see what the worker says, whether it writes a large "
        "transaction, and whether a server waits for a standby (synchronized_standby_slots, "
        "synchronous_standby_names) or for a lock"
    )


def _of_worker(worker: WorkerStatus, run: str) -> Iterator[str]:
    if worker.state == ON_STANDBY:
        yield "the server is a standby: its changes are recorded from its primary, which knows their status"
    elif worker.wal_status == "lost":
        yield f"the server removed WAL that was not read: run {run[:-1]} --accept-gap' to record the gap"
    elif worker.state == NOT_RUNNING:
        yield (
            f"the worker is not running, and the server keeps all WAL: start {run}, or see in its output why "
            "it tries again"
        )
    elif not worker.has_begun:
        yield f"recording has not begun: start {run}"
    elif worker.state != RUNNING:
        yield f"the replication slot {worker.slot} is gone: run {run[:-1]} --accept-gap' to record the gap"
    if worker.wal_status == "unreserved":
        yield "the server will remove WAL that was not read at its next checkpoint"
