"""Two sources, two destinations, DDL and barriers, while consumers come, go, lose connections and wait.

``BEMI_BLOWS`` says how often: ``make torture``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from bemi_django.ingest.queue.consumer import Consumer
from tests.support.cluster import Cluster, transaction
from tests.support.divided_pipeline import DividedPipeline
from tests.support.load_pipeline import load_cluster
from tests.support.nats_server import NatsServer
from tests.support.polling import DEADLINE, until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.roles import OWNER, WORKER
from tests.support.shared_log import OtherDatabase, SharedLogPipeline

BLOWS = int(os.environ.get("BEMI_BLOWS", "6"))
SEED = int(os.environ.get("BEMI_SEED", "1"))
NAMES = ("log", "second")
#: What happens to the table of a source; {0} is the number of the blow.
DDL = (
    "ALTER TABLE load ADD COLUMN c{0} int DEFAULT {0}",
    "ALTER TABLE load RENAME COLUMN filler TO filled; ALTER TABLE load RENAME COLUMN filled TO filler",
    "ALTER TABLE load ALTER COLUMN filler TYPE varchar",
    "TRUNCATE load",
    "UPDATE load SET id = -id",
    "ALTER TABLE load RENAME COLUMN filler TO f{0}; UPDATE load SET f{0} = 'new'; "
    "ALTER TABLE load RENAME COLUMN f{0} TO filler",
)
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s ORDER BY random() LIMIT 1"
_LOGGED = """
SELECT id::text, operation, primary_key, previous_primary_key, (after ->> 'n')::int FROM changes
WHERE database = %s
"""


@pytest.fixture(scope="module")
def second_log() -> Iterator[Cluster]:
    with closing(load_cluster(wal_level="replica")) as cluster:
        yield cluster


@pytest.fixture
def sources(
    source_cluster: Cluster, log_cluster: Cluster, second_log: Cluster, nats_server: NatsServer
) -> Iterator[list[DividedPipeline]]:
    with closing(OtherDatabase(source_cluster, "beside")) as beside, ExitStack() as stack:
        stack.callback(nats_server.delete)
        made = []
        for slot, server in {"bemi_trail": source_cluster, "bemi_beside": beside}.items():
            pipeline = SharedLogPipeline(server, log_cluster, slot)
            stack.callback(pipeline.drop)
            pipeline.run()
            queued = QueuedPipeline(pipeline, nats_server)
            made.append(stack.enter_context(DividedPipeline(queued, second_log, {"hash": "1/2"}).emptied()))
        yield made


class Consumers:
    """Consumers of both destinations, as threads that may be added and stopped."""

    def __init__(self, divided: DividedPipeline) -> None:
        self._divided = divided
        self._running: dict[str, list[Consumer]] = {name: [] for name in NAMES}
        self._pool = ThreadPoolExecutor(2 * BLOWS + 8)
        self._ended: list[Future[int]] = []

    def add(self, name: str) -> None:
        """Start a consumer of a destination."""
        consumer = self._divided.consumer(name)
        self._running[name].append(consumer)
        self._ended.append(self._pool.submit(consumer.run))

    def remove(self, name: str) -> None:
        """Stop one, and start another if it was the last one."""
        if self._running[name]:
            self._running[name].pop().stop()
        if not self._running[name]:
            self.add(name)

    def close(self) -> None:
        """Stop all, and raise what has ended one of them."""
        for consumer in [one for some in self._running.values() for one in some]:
            consumer.stop()
        for one in self._ended:
            one.result(DEADLINE)
        self._pool.shutdown()


def strike(name: str, cluster: Cluster, consumers: Consumers, chance: random.Random) -> None:
    """Let something happen to the consumers of a destination."""
    blow = chance.choice(("add", "remove", "cut", "hold"))
    if blow == "add":
        consumers.add(name)
    elif blow == "remove":
        consumers.remove(name)
    elif blow == "cut":
        cluster.run(_END, [WORKER])
    else:
        with transaction(cluster) as cursor:
            cursor.execute("LOCK TABLE _bemi.lanes IN EXCLUSIVE MODE")
            time.sleep(chance.uniform(0.05, 0.3))


def folded(divided: DividedPipeline) -> dict[int, int]:
    """Return the rows of a source as the changes of both logs, in their order, leave them."""
    database = divided.trail.source.server.dbname
    found = sorted(row for log in divided.logs.values() for row in log.run(_LOGGED, [database]))
    assert len({identifier for identifier, *_ in found}) == len(found)
    rows: dict[int, int] = {}
    for _, operation, key, previous, n in found:
        if operation == "TRUNCATE":
            rows.clear()
        else:
            assert operation in ("CREATE", "UPDATE")
            if previous is not None:
                del rows[int(previous)]
            rows[int(key)] = n
    return rows


def test_the_logs_are_what_the_tables_are(sources: list[DividedPipeline]) -> None:
    chance = random.Random(SEED)
    consumers = Consumers(sources[0])
    with ExitStack() as stack:
        stack.callback(consumers.close)
        for divided in sources:
            stack.enter_context(divided.trail.worker(config=divided.publishing))
        for name in NAMES:
            consumers.add(name)
        with ExitStack() as writing:
            for divided in sources:
                writing.enter_context(divided.trail.load())
            for number in range(BLOWS):
                # Random moments are what this is about.
                time.sleep(chance.uniform(0.05, 0.3))
                ddl = DDL[number % len(DDL)] if number < len(DDL) else chance.choice(DDL)
                source = chance.choice(sources).trail.source
                source.run(f"SET ROLE {OWNER}; {ddl.format(number)}; RESET ROLE")
                name = chance.choice(NAMES)
                strike(name, sources[0].logs[name], consumers, chance)
        for divided in sources:
            divided.are_complete()
            table = divided.trail.source.run("SELECT id, n FROM load")
            until(lambda divided=divided, table=table: folded(divided) == dict(table))  # type: ignore[misc]
            divided.are_complete()
        until(lambda: sources[0].queued.server.messages() == 0)
