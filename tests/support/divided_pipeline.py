"""A pipeline with a queue whose changes are divided among two destinations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.test import override_settings

from bemi_django import destinations
from bemi_django.ingest.config import Divided, WorkerConfig
from bemi_django.ingest.queue.consumer import Consumer
from tests.support.cluster import Cluster
from tests.support.command import Command
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.roles import WORKER, address

NAMES = ("log", "second")
_EMPTY = """
TRUNCATE changes, _bemi.dead_letters, _bemi.checkpoint, _bemi.histories, _bemi.lanes, _bemi.activity,
    _bemi.links, _bemi.chains
"""


class DividedPipeline:
    """Publishes what ``queued`` reads; ``second`` is another destination, with a part of the changes.

    Args:
        queued: A pipeline to the first destination.
        second: The server of the second one.
        conditions: Which changes the second one has, as ``BEMI_DESTINATIONS`` says it.
    """

    def __init__(self, queued: QueuedPipeline, second: Cluster, conditions: dict[str, Any]) -> None:
        self.queued, self.trail, self.second = queued, queued.trail, second
        self.logs = {"log": self.trail.log, "second": second}
        self.conditions = {"second": conditions}
        with override_settings(BEMI_DESTINATION="log", BEMI_DESTINATIONS=self.conditions):
            self._division = destinations.division()

    def consumer(self, name: str) -> Consumer:
        """Return a consumer of a destination."""
        parameters = {each: log.parameters_of(WORKER) for each, log in self.logs.items()}
        others = {each: (lambda each=each: parameters[each]) for each in NAMES if each != name}
        divided = Divided(name, self._division, others)
        config = self.queued.config._replace(destination=parameters[name], divided=divided)
        return Consumer(config, QUICK)

    @property
    def publishing(self) -> WorkerConfig:
        """What publishes for these destinations."""
        parameters = {each: log.parameters_of(WORKER) for each, log in self.logs.items()}
        divided = Divided("log", self._division, {})
        return self.queued.config._replace(divided=divided, ask_destination=parameters.__getitem__)

    def publish(self) -> int:
        """Publish what is in the WAL now; return the number of changes."""
        return self.trail.run(self.publishing)

    def consume(self, name: str) -> int:
        """Write what is in the queue now to a destination; return the number of changes."""
        return self.consumer(name).run(until_current=True)

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Let a consumer of each destination run until the block ends."""
        consumers = [self.consumer(name) for name in names]
        with ThreadPoolExecutor(len(names)) as pool:
            running = [pool.submit(consumer.run) for consumer in consumers]
            try:
                yield
            finally:
                for consumer in consumers:
                    consumer.stop()
                for one in running:
                    one.result(DEADLINE)

    @contextmanager
    def project(self) -> Iterator[None]:
        """Let Django know both logs under their names, and the source as "shop", until the block ends."""
        clusters = {**self.logs, "shop": self.trail.source}
        for alias, cluster in clusters.items():
            server = cluster.server
            address = {"NAME": server.dbname, "HOST": server.host, "PORT": server.port}
            user = {"USER": server.user, "PASSWORD": server.password}
            connections.settings[alias] = {**connections.settings["default"], **address, **user}
        routers = ["bemi_django.routers.BemiRouter"]
        try:
            with override_settings(
                BEMI_DESTINATION="log", BEMI_DESTINATIONS=self.conditions, DATABASE_ROUTERS=routers
            ):
                yield
        finally:
            for alias in clusters:
                connections[alias].close()
                del connections[alias], connections.settings[alias]

    def process(self, *arguments: str) -> Command:
        """Start a subcommand of ``bemi`` in a process of its own."""
        trail = self.trail
        source = address(trail.source.server.url, WORKER)
        log, second = (address(self.logs[name].server.url, WORKER) for name in NAMES)
        return Command(
            "bemi",
            *arguments,
            source=source,
            log=log,
            slot=trail.slot,
            SECOND_LOG_URL=second,
            DESTINATIONS=json.dumps(self.conditions),
        )

    def logged(self, name: str) -> list[tuple[str, int]]:
        """Return the ids and the numbers of the rows that a destination has."""
        query = """
            SELECT id::text, (after ->> 'n')::int FROM changes
            WHERE operation IN ('CREATE', 'UPDATE') ORDER BY id
        """
        return self.logs[name].run(query)

    def checkpoint(self, name: str) -> int:
        """Return the checkpoint of a destination, in bytes; 0 before its log has begun."""
        query = "SELECT coalesce(max(lsn) - '0/0', 0)::bigint FROM _bemi.checkpoint WHERE slot = %s"
        return int(self.logs[name].one(query, [self.trail.slot]))

    def catch_up(self) -> None:
        """Wait until the consumers of both have written everything, then check that nothing is twice."""
        last = self.trail.source.one("SELECT coalesce(max(n), 0) FROM load")
        until(lambda: sum(len(self.logged(name)) for name in NAMES) >= last)
        written = sorted(one for name in NAMES for one in self.logged(name))
        assert [n for _, n in written] == list(range(1, last + 1))
        assert len({identifier for identifier, _ in written}) == last

    def are_complete(self) -> None:
        """Wait until both checkpoints are where the slot is."""
        until(lambda: all(self.checkpoint(name) >= self.trail.confirmed() for name in NAMES))

    @contextmanager
    def emptied(self) -> Iterator[DividedPipeline]:
        """Leave the second destination without a log when the block ends."""
        try:
            yield self
        finally:
            self.second.run(_EMPTY)
