"""A database whose changes a worker writes to a log on another server while something is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psutil

from bemi_django.schema import sql
from bench import servers
from bench.servers import connect, execute, one, parameters
from bench.stream import TABLE
from bench.trigger import CONTEXT
from sample_project.postgres_server import Server

INSERT = (
    f"/*Bemi {CONTEXT} Bemi*/ INSERT INTO item VALUES (%s, 7, 'Item', %s, false, 1.5, now(), '2026-06-30')"
)
_SETUP = """
ALTER TABLE item REPLICA IDENTITY FULL;
CREATE PUBLICATION bemi FOR TABLE item;
CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON item
FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
"""


class Live:
    def __init__(self, source: Server, log: Server) -> None:
        self.source = source
        self.log = log
        for server, name in ((source, "source"), (log, "log")):
            servers.create_database(server, name)
        with closing(self.connect_source()) as connection:
            for script in (sql.up(*sql.SOURCE), TABLE, _SETUP):
                execute(connection, script)
        with closing(self.connect_log()) as connection:
            execute(connection, sql.up("schema_v1", "histories_v1", "changes_v1", "activity_v1", "seals_v1"))

    def connect_source(self) -> Any:
        return connect(self.source, "source")

    def connect_log(self) -> Any:
        return connect(self.log, "log")

    @contextmanager
    def worker(self, *queue: str) -> Iterator[psutil.Process]:
        """Run the worker, which publishes to a queue if one is given, and yield its process."""
        with self._process("serve", *queue) as process:
            with closing(self.connect_source()) as connection:
                self._await(
                    connection,
                    "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'bemi' AND active",
                )
            yield process

    @contextmanager
    def consumer(self, queue: str) -> Iterator[psutil.Process]:
        """Write to the log what comes from a queue, and yield the process that does."""
        with self._process("serve_queue", queue) as process:
            yield process

    @contextmanager
    def _process(self, how: str, *queue: str) -> Iterator[psutil.Process]:
        given = [json.dumps(parameters(self.source, "source")), json.dumps(parameters(self.log, "log"))]
        command = [sys.executable, "-m", "bench.consume", how, *given, "bemi", *queue]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(30)

    def catch_up(self, count: int) -> None:
        """Wait until the log has this number of changes."""
        with closing(self.connect_log()) as connection:
            self._await(connection, "SELECT count(*) >= %s FROM changes", [count], 0.2)

    def _await(self, connection: Any, query: str, values: Any = None, pause: float = 0.02) -> None:
        deadline = time.monotonic() + 600
        while not one(connection, query, values):
            if time.monotonic() > deadline:
                raise TimeoutError(query)
            time.sleep(pause)


@contextmanager
def live(**settings: str) -> Iterator[Live]:
    with ExitStack() as stack:
        source = stack.enter_context(servers.server(**settings))
        log = stack.enter_context(servers.server(wal_level="replica", **settings))
        yield Live(source, log)
