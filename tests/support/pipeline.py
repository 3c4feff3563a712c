"""The harness of all tests that run a pipeline: a source, a log, and the worker between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple

from django.conf import settings

from bemi_django import conf
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.loop.worker import Worker
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.selection.configured import configured_selection
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.models import Change
from tests.support import roles
from tests.support.polling import DEADLINE, until
from tests.support.project_database import Database, ProjectDatabase

#: Runs the worker up to the present and returns the changes written since the last call.
Drain = Callable[[], list[Change]]

#: Timeouts of a worker that need not spare a server: milliseconds where it has seconds or minutes.
QUICK = Timeouts(first_pause=0.05, longest_pause=0.2, standby=0.05, idle=0.1, lock=0.3, grace=0.5)

SLOT_STATE = """
SELECT confirmed_flush_lsn - '0/0' AS confirmed, restart_lsn - '0/0' AS restart, active_pid
FROM pg_replication_slots WHERE slot_name = %s
"""
_LOGGED = """
SELECT id::text, context::text, operation, schema, "table", partition, primary_key, previous_primary_key,
       before::text, after::text, unavailable::text
FROM changes WHERE id > %s ORDER BY id
"""


class LoggedChange(NamedTuple):
    """A row of ``changes``; ``before`` and ``after`` are text, as the server prints jsonb."""

    operation: str
    schema: str
    table: str
    partition: str | None
    key: str | None
    previous_key: str | None
    before: str
    after: str
    unavailable: dict[str, list[str]] | None = None


def _settings() -> dict[str, object]:
    """Return the settings of the package, which a worker reads when it connects."""
    return {name: copy(getattr(settings, name)) for name in dir(settings) if name.startswith("BEMI_")}


def worker_config(slot: str, using: str = "default", role: str = roles.WORKER) -> WorkerConfig:
    """Return what a worker on a database of the settings works on, as the role where roles are in use."""
    source, destination = (
        roles.as_role(role, conf.connection_parameters(alias)) for alias in (using, conf.destination())
    )
    return WorkerConfig(source, destination, slot, conf.publication(), selection=configured_selection())


class Pipeline:
    """A worker on a slot of ``source`` that writes to ``log``.

    A test chooses how it works: up to the present (:meth:`run`), up to the present and connected between
    the calls (:meth:`advance`, :meth:`drain`), or beside the test until a block ends (:meth:`worker`).
    """

    def __init__(
        self, config: WorkerConfig, source: Database, log: Database, timeouts: Timeouts = QUICK
    ) -> None:
        self.config, self.source, self.log, self.timeouts = config, source, log, timeouts
        self._connected: Worker | None = None
        self._settings: dict[str, object] = {}
        self._last = "00000000-0000-0000-0000-000000000000"
        self.contexts: list[dict[str, Any]] = []
        """The contexts of the changes that were drained last."""

    @classmethod
    def of_project(cls, slot: str, using: str = "default") -> Pipeline:
        """Return a pipeline from a database of the settings to the one that holds its log."""
        log = ProjectDatabase(conf.destination())
        return cls(worker_config(slot, using), ProjectDatabase(using), log, Timeouts(idle=0.05))

    @property
    def slot(self) -> str:
        return self.config.slot

    def run(self, config: WorkerConfig | None = None) -> int:
        """Run a worker until the log has all that is in the WAL now; return the changes it wrote."""
        written = Supervisor(config or self.config, self.timeouts).run(until_current=True)
        self.release()
        return written

    @contextmanager
    def worker(
        self, timeouts: Timeouts | None = None, config: WorkerConfig | None = None
    ) -> Iterator[Future[int]]:
        """Run a worker in a thread until the block ends, which raises the error that ended it before."""
        supervisor = Supervisor(config or self.config, timeouts or self.timeouts)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(supervisor.run)
            try:
                yield running
            finally:
                supervisor.stop()
                running.result(DEADLINE)

    def advance(self) -> None:
        """Write what is in the WAL now; the worker stays connected until :meth:`stop`, or other settings."""
        if self._connected is not None and self._settings != _settings():
            self.stop()
        if self._connected is None:
            self._settings = _settings()
            self._connected = Worker(self.config, Progress())
        self._connected.run(until_current=True)

    def drain(self) -> list[LoggedChange]:
        """Advance and return the changes since the last call."""
        self.advance()
        rows = self.log.read(_LOGGED, [self._last])
        if rows:
            self._last = rows[-1][0]
        self.contexts = [json.loads(context) for _, context, *_ in rows]
        return [LoggedChange._make([*row[2:-1], row[-1] and json.loads(row[-1])]) for row in rows]

    def stop(self) -> None:
        """Disconnect the worker; what is written from now on waits in the WAL."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None
            self.release()

    def release(self) -> None:
        """Wait until the server has noticed that nobody reads the slot any more."""
        active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
        until(lambda: self.source.run(active, [self.slot])[0][0] == 0, why=lambda: f"{self.slot} is in use")

    def drop(self) -> None:
        """Drop the slot and its checkpoint."""
        self.stop()
        self.release()
        self.source.administer(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
            [self.slot],
        )
        for table in ("checkpoint", "histories", "lanes"):
            self.log.run(f"DELETE FROM _bemi.{table} WHERE slot = %s", [self.slot])  # noqa: S608 - three names

    def gaps(self) -> list[dict[str, Any]]:
        """Return the contexts of the gaps in the log."""
        return [context for (context,) in self.log.run("SELECT context FROM changes WHERE operation = 'GAP'")]

    def checkpoint(self) -> int:
        """Return the position up to which the log is written."""
        query = "SELECT lsn - '0/0' FROM _bemi.checkpoint WHERE slot = %s"
        return int(self.log.run(query, [self.slot])[0][0])

    def counters(self) -> dict[str, int]:
        """Return what the health page shows as counted."""
        query = "SELECT counters::text FROM _bemi.checkpoint WHERE slot = %s"
        counted: dict[str, int] = json.loads(self.log.run(query, [self.slot])[0][0])
        return counted

    def confirmed(self) -> int:
        """Return the position that the slot is at; 0 without a slot."""
        found = self.source.run(SLOT_STATE, [self.slot])
        return int(found[0][0] or 0) if found else 0

    def wait_until_read(self) -> int:
        """Wait for a worker on the slot; return the process of the server that serves it."""
        found = until(lambda: [row for row in self.source.run(SLOT_STATE, [self.slot]) if row[2]])
        return int(found[0][2])
