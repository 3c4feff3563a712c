"""A source under load and its log, which must be complete, in order, and free of repetitions at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.timeouts import Timeouts
from tests.support.cluster import Cluster
from tests.support.command import Command
from tests.support.polling import until
from tests.support.roles import OWNER, WORKER, address

#: A worker that does in moments what it has minutes for.
QUICK = Timeouts(first_pause=0.05, longest_pause=0.2, standby=0.05, idle=0.1, lock=0.3, grace=0.5)

SOURCE_STATE = """
SELECT confirmed_flush_lsn - '0/0' AS confirmed, restart_lsn - '0/0' AS restart, active_pid
FROM pg_replication_slots WHERE slot_name = %s
"""


class Trail:
    """The table ``load`` of ``source``, whose changes a worker on ``slot`` writes to ``log``.

    The worker has no more rights than it needs, and the table belongs to a role that is no superuser.
    """

    def __init__(self, source: Cluster, log: Cluster, slot: str) -> None:
        self.source, self.log, self.slot = source, log, slot
        self._n = 0
        self.config = WorkerConfig(source.parameters_of(WORKER), log.parameters_of(WORKER), slot, "bemi")

    def write(self, count: int = 1) -> None:
        """So many transactions."""
        with self._writer() as write:
            for _ in range(count):
                write()

    @contextmanager
    def load(self) -> Iterator[None]:
        """Write all the time meanwhile, whatever becomes of the server."""
        done = threading.Event()
        thread = threading.Thread(target=self._write_until, args=[done])
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def run(self, config: WorkerConfig | None = None) -> int:
        """A worker that ends when the log is complete."""
        written = Supervisor(config or self.config, QUICK).run(until_current=True)
        self.release()
        return written

    @contextmanager
    def worker(self, timeouts: Timeouts = QUICK, config: WorkerConfig | None = None) -> Iterator[Future[int]]:
        """A worker at work meanwhile, in a thread; why it ended by itself is raised in the end."""
        supervisor = Supervisor(config or self.config, timeouts)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(supervisor.run)
            try:
                yield running
            finally:
                supervisor.stop()
                running.result(30)

    def command(self, *arguments: str, source: str = "", log: str = "", slot: str = "") -> Command:
        """A worker in a process of its own; it may work on something else."""
        source = source or address(self.source.server.url, WORKER)
        log = log or address(self.log.server.url, WORKER)
        return Command(source, log, slot or self.slot, *arguments)

    def catch_up(self) -> None:
        """Wait until the last row is in the log, and check all of it."""
        until(lambda: self.logged()[-1:] == [self._last()])
        self.check()

    def check(self) -> None:
        """Every committed row is in the log once, in the order of commits; all of them make the table."""
        logged = self.logged()
        assert logged == sorted(set(logged))
        table: dict[int, int] = {}
        for n, after in self._log("SELECT (after ->> 'n')::int, after FROM changes"):
            table[after["id"]] = n
        assert table == dict(self.source.run("SELECT id, n FROM load"))
        # A row is written with one n and later another one: the log has both.
        assert logged == list(range(1, self._last() + 1))

    def logged(self) -> list[int]:
        return [n for (n,) in self._log("SELECT (after ->> 'n')::int FROM changes")]

    def publish(self) -> None:
        """Make the publication."""
        self.source.run("CREATE PUBLICATION bemi FOR TABLE load")

    def gaps(self) -> list[dict[str, Any]]:
        return [context for (context,) in self.log.run("SELECT context FROM changes WHERE operation = 'GAP'")]

    def checkpoint(self) -> int:
        return int(self.log.one("SELECT lsn - '0/0' FROM _bemi_checkpoint"))

    def confirmed(self) -> int:
        """Where the slot is; 0 without one."""
        found = self.source.run(SOURCE_STATE, [self.slot])
        return int(found[0][0] or 0) if found else 0

    def wait_until_read(self) -> int:
        """Wait for a worker on the slot; return the process of the server that serves it."""
        found = until(lambda: [row for row in self.source.run(SOURCE_STATE, [self.slot]) if row[2]])
        return int(found[0][2])

    def release(self) -> None:
        """Wait until the server has noticed that nobody reads the slot any more."""
        active = "SELECT count(active_pid) FROM pg_replication_slots WHERE slot_name = %s"
        until(lambda: self.source.one(active, [self.slot]) == 0)

    def drop(self) -> None:
        """Leave both servers as they were."""
        self.release()
        self.source.run(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
            [self.slot],
        )
        self.source.run("TRUNCATE load, junk; DROP PUBLICATION IF EXISTS bemi")
        self.publish()
        self.log.run("TRUNCATE changes; DELETE FROM _bemi_checkpoint")

    def _log(self, query: str) -> list[Any]:
        return self.log.run(f"{query} WHERE operation IN ('CREATE', 'UPDATE') ORDER BY id")

    def _last(self) -> int:
        return int(self.source.one("SELECT coalesce(max(n), 0) FROM load"))

    def _write_until(self, done: threading.Event) -> None:
        while not done.is_set():
            with suppress(psycopg2.Error), self._writer() as write:
                while not done.wait(0.002):
                    write()
            done.wait(0.01)

    @contextmanager
    def _writer(self) -> Iterator[Any]:
        connection = psycopg2.connect(**self.source.parameters_of(OWNER))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                # A commit that was not answered may have come about.
                cursor.execute("SELECT coalesce(max(n), 0) FROM load")
                self._n = cursor.fetchone()[0]
                yield lambda: self._write(cursor)
        finally:
            connection.close()

    def _write(self, cursor: Any) -> None:
        """Every third transaction changes the row of the one before."""
        n = self._n + 1
        values: Sequence[int] = (n, n - 1) if n % 3 == 0 else (n, n)
        if n % 3 == 0:
            cursor.execute("UPDATE load SET n = %s WHERE id = %s", values)
        else:
            cursor.execute("INSERT INTO load (n, id) VALUES (%s, %s)", values)
        self._n = n
