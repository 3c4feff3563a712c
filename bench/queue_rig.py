"""Databases with a load, a queue and a log, and what each stage between them takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NamedTuple

import psutil

from bemi_django.schema import sql
from bench import servers
from bench.queue_server import QueueServer, queue_server
from bench.servers import connect, execute, one, parameters
from bench.stream import Stream
from sample_project.postgres_server import Server

_LOG = ("schema_v1", "histories_v1", "changes_v1", "activity_v1", "seals_v1")
_BESIDE = "_bemi.dead_letters, _bemi.chains, _bemi.links, _bemi.activity, _bemi.lanes, _bemi.checkpoint"
_LANES = 8


class Usage(NamedTuple):
    """Seconds of a stage, and the processor time of its processes, of the queue and of the log's server."""

    seconds: float
    cpu: float
    queue: float
    log: float
    most_memory: float


class Rig:
    """Databases with a load in their WAL, a queue, and a log on a server of its own."""

    def __init__(self, source: Server, log: Server, queue: QueueServer) -> None:
        self._source, self._log, self.queue = source, log, queue
        servers.create_database(log, "log")
        with closing(self.connect_log()) as connection:
            execute(connection, sql.up(*_LOG))
            self._postmaster = psutil.Process(one(connection, "SELECT pg_backend_pid()")).parent()

    def connect_log(self) -> Any:
        return connect(self._log, "log")

    def stream(self, name: str, changes: int) -> Stream:
        """Make a database whose WAL holds this number of changes."""
        servers.create_database(self._source, name)
        return Stream(self._source, name, changes // 2, 0)

    def write(self, stream: Stream) -> Usage:
        """Write a stream to the log directly."""
        self.clear()
        with stream.slot() as slot:
            usage = self._run([self._command("work", stream, slot)])
        self.require(stream.changes)
        return usage

    def publish(self, streams: Sequence[Stream], lanes: int = _LANES) -> Usage:
        """Publish streams side by side, each by a process of its own, into an empty queue."""
        self.clear()
        with ExitStack() as slots:
            named = [(stream, slots.enter_context(stream.slot())) for stream in streams]
            url = self.queue.url(lanes)
            return self._run([self._command("work", stream, slot, url) for stream, slot in named])

    def draw(self, streams: Sequence[Stream], consumers: int) -> Usage:
        """Write what is in the queue to the log by a number of processes."""
        command = self._command("draw", streams[0], "none", self.queue.url(_LANES))
        usage = self._run([command] * consumers)
        self.require(sum(stream.changes for stream in streams))
        return usage

    def clear(self) -> None:
        self.queue.clear()
        with closing(self.connect_log()) as connection:
            execute(connection, f"TRUNCATE changes, {_BESIDE}")
            execute(connection, "SELECT _bemi.partition_v1(now())")
            execute(connection, "CHECKPOINT")

    def require(self, changes: int) -> None:
        with closing(self.connect_log()) as connection:
            found = one(connection, "SELECT count(*) FROM changes")
        if found != changes:
            raise AssertionError(f"{found} changes, not {changes}")

    def _run(self, commands: Sequence[list[str]]) -> Usage:
        """Run processes side by side until all have ended."""
        queue, log = self.queue.processor_seconds(), self._log_seconds()
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        answers = []
        for process in running:
            answer, _ = process.communicate()
            if process.returncode:
                raise RuntimeError(f"{process.args} ended with {process.returncode}")
            answers.append(json.loads(answer))
        return Usage(
            max(answer["seconds"] for answer in answers),
            sum(answer["cpu"] for answer in answers),
            self.queue.processor_seconds() - queue,
            self._log_seconds() - log,
            max(answer["rss"] for answer in answers),
        )

    def _command(self, how: str, stream: Stream, slot: str, *queue: str) -> list[str]:
        source = json.dumps(parameters(stream.server, stream.database))
        destination = json.dumps(parameters(self._log, "log"))
        return [sys.executable, "-m", "bench.consume", how, source, destination, slot, *queue]

    def _log_seconds(self) -> float:
        """Return the processor time of the log's server: of its processes, and of those that have ended."""
        ended = self._postmaster.cpu_times()
        total = ended.user + ended.system + ended.children_user + ended.children_system
        for process in self._postmaster.children():
            used = process.cpu_times()
            total += used.user + used.system
        return float(total)


@contextmanager
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        source = stack.enter_context(servers.server())
        log = stack.enter_context(servers.server(wal_level="replica"))
        yield Rig(source, log, stack.enter_context(queue_server()))
