"""A pipeline with a queue between a publisher and consumers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.wire.queue_address import parse
from tests.support.command import Command
from tests.support.load_pipeline import LoadPipeline
from tests.support.nats_server import Nats
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until
from tests.support.roles import WORKER, address


class QueuedPipeline:
    """Publishes what ``trail`` reads to ``server``, and writes it to the log of ``trail``."""

    def __init__(self, trail: LoadPipeline, server: Nats, lanes: int = 3, **options: object) -> None:
        self.trail, self.server = trail, server
        self.url = server.url("bemi", lanes=lanes, **options)
        self.config = trail.config._replace(queue=parse(self.url))

    def publish(self) -> int:
        """Publish what is in the WAL now; return the number of changes."""
        return self.trail.run(self.config)

    def consume(self) -> int:
        """Write what is in the queue now; return the number of changes."""
        return Consumer(self.config, QUICK).run(until_current=True)

    @contextmanager
    def publisher(self) -> Iterator[Future[int]]:
        """Publish until the block ends."""
        with self.trail.worker(config=self.config) as running:
            yield running

    @contextmanager
    def consumers(self, number: int = 1) -> Iterator[None]:
        """Write until the block ends."""
        made = [Consumer(self.config, QUICK) for _ in range(number)]
        with ThreadPoolExecutor(number) as pool:
            running = [pool.submit(consumer.run) for consumer in made]
            try:
                yield
            finally:
                for consumer in made:
                    consumer.stop()
                for one in running:
                    one.result(DEADLINE)

    def process(self, *arguments: str) -> Command:
        """Start a subcommand of ``bemi`` in a process of its own."""
        trail = self.trail
        source, log = (address(cluster.server.url, WORKER) for cluster in (trail.source, trail.log))
        return Command("bemi", *arguments, source=source, log=log, slot=trail.slot)

    def lanes(self) -> list[Any]:
        """Return slot, number and position of each lane."""
        return self.trail.log.run("SELECT lane, sequence, ordinal FROM _bemi.lanes ORDER BY lane")

    def catch_up(self) -> None:
        """Wait until consumers have written everything, then check all of it."""
        trail = self.trail
        until(lambda: len(trail.logged()) >= trail.source.one("SELECT coalesce(max(n), 0) FROM load"))
        trail.check()
        self.check_order()

    def check_order(self) -> None:
        """Assert that the changes of each row were written in their order."""
        query = """
            SELECT count(*) FROM (
                SELECT created_at < lag(created_at) OVER (
                    PARTITION BY ('x' || right(id::text, 8))::bit(32) & x'3fffffff'::bit(32), primary_key
                    ORDER BY id) AS is_early
                FROM changes WHERE operation IN ('CREATE', 'UPDATE')) written
            WHERE is_early"""
        assert self.trail.log.one(query) == 0
