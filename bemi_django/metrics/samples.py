"""The metrics of recording, whoever collects them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from django.db import DatabaseError

from bemi_django import conf
from bemi_django.exceptions import BemiError
from bemi_django.schema.coverage import read_coverage
from bemi_django.status.log_status import read_log
from bemi_django.status.recording import read_standings
from bemi_django.status.time_limits import time_limits
from bemi_django.status.worker_status import RUNNING, read_worker

#: Name and description of each metric. All are gauges but the last one.
DESCRIPTIONS = {
    "bemi_worker_running": "Whether a worker reads the replication slot.",
    "bemi_worker_stuck": "Whether the worker does not get on: it has noted why, or nothing arrives.",
    "bemi_lag_bytes": "WAL that is not in the log yet.",
    "bemi_lag_seconds": "How long the log may have lacked something.",
    "bemi_wal_retained_bytes": "WAL that the server keeps for the slot.",
    "bemi_wal_room_bytes": "WAL that may be written until the server removes some that the slot needs.",
    "bemi_log_size_bytes": "Size of the log with its indexes.",
    "bemi_log_changes": "Changes in the log, as the planner estimates them.",
    "bemi_log_gaps": "Gaps that were recorded.",
    "bemi_log_dead_letters": "Messages that could not be stored completely.",
    "bemi_tables": "Tables by state: tracked, untracked, or outdated if 'bemi sync' has something to do.",
    "bemi_handler_pending": "Changes that the handler has not handled yet, up to 10,000.",
    "bemi_handler_undelivered": "Changes that the handler has failed to handle and that were kept aside.",
    "bemi_read_error": "Whether this part of the status could not be read.",
    "bemi_worker_events": "What the worker has counted since it was started.",
}
#: The metric that is a counter.
EVENTS = "bemi_worker_events"

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """A value of a metric.

    Attributes:
        name: A key of :data:`DESCRIPTIONS`.
        value: The value, in the unit that ends the name.
        labels: What distinguishes it from other samples of the metric; each has a ``database``.
    """

    name: str
    value: float
    labels: Labels


def read_samples(sources: Iterable[str]) -> Iterator[Sample]:
    """Yield the samples of databases.

    What a role may not read is left out, and ``bemi_read_error`` says which part that is.

    Args:
        sources: Aliases of recorded databases.
    """
    for alias in sources:
        for part, read in _PARTS.items():
            labels = {"database": alias, "part": part}
            try:
                with time_limits(alias):
                    found = list(read(alias))
            except (BemiError, DatabaseError):
                yield Sample("bemi_read_error", 1, labels)
            else:
                yield Sample("bemi_read_error", 0, labels)
                for name, value, more in found:
                    yield Sample(name, value, {"database": alias, **more})


def _of_worker(alias: str) -> Iterator[Sample]:
    worker = read_worker(alias)
    end = worker.log_end
    yield Sample("bemi_worker_running", worker.state == RUNNING, {})
    is_stuck = worker.is_held_up or end is not None and bool(end.trouble)
    yield Sample("bemi_worker_stuck", is_stuck, {})
    yield Sample("bemi_lag_bytes", worker.lag_bytes, {})
    if not math.isnan(worker.lag_seconds):
        yield Sample("bemi_lag_seconds", worker.lag_seconds, {})
    yield Sample("bemi_wal_retained_bytes", worker.retained_bytes, {})
    if worker.room_bytes is not None:
        yield Sample("bemi_wal_room_bytes", worker.room_bytes, {})
    for event, count in end.counters.items() if end else ():
        yield Sample(EVENTS, count, {"event": event})


def _of_log(alias: str) -> Iterator[Sample]:
    log = read_log(conf.destination())
    yield Sample("bemi_log_size_bytes", log.size, {})
    yield Sample("bemi_log_changes", log.changes, {})
    if log.gaps is not None:
        yield Sample("bemi_log_gaps", log.gaps, {})
    if log.dead_letters is not None:
        yield Sample("bemi_log_dead_letters", log.dead_letters, {})


def _of_tables(alias: str) -> Iterator[Sample]:
    states = Counter(
        "outdated" if table.needs_sync else "tracked" if table.is_tracked else "untracked"
        for table in read_coverage(alias)
    )
    for state in ("tracked", "untracked", "outdated"):
        yield Sample("bemi_tables", states[state], {"state": state})


def _of_handlers(alias: str) -> Iterator[Sample]:
    for standing in read_standings(alias):
        labels = {"handler": standing.handler.name}
        yield Sample("bemi_handler_pending", standing.pending, labels)
        yield Sample("bemi_handler_undelivered", standing.aside, labels)


_PARTS: dict[str, Callable[[str], Iterator[Sample]]] = {
    "worker": _of_worker,
    "log": _of_log,
    "tables": _of_tables,
    "handlers": _of_handlers,
}
