"""Kill workers and crash servers under load: the log is complete, in commit order, without repetitions.

``BEMI_BLOWS`` is the number of times: 100 in ``make torture``. ``BEMI_SEED`` chooses other moments.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import UUID

from tests.support.cluster import Cluster
from tests.support.fold import Entry, fold, live
from tests.support.polling import DEADLINE
from tests.support.random_load import Writer
from tests.support.roles import OWNER, WORKER, address
from tests.support.torture_pipeline import TorturePipeline

BLOWS = int(os.environ.get("BEMI_BLOWS", "5"))
SEED = int(os.environ.get("BEMI_SEED", "1"))
WRITERS = 3


@contextmanager
def load(url: str) -> Iterator[list[Writer]]:
    stop = threading.Event()
    writers = [Writer(url, seed, stop) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        stop.set()
        for writer in writers:
            writer.join(DEADLINE)


def strike(pipeline: TorturePipeline, blow: int) -> None:
    """Kill the worker, or crash the source or the log: each of the two at every fifth blow."""
    clusters: dict[int, Cluster] = {3: pipeline.source, 4: pipeline.log}
    if cluster := clusters.get(blow % 5):
        cluster.stop(is_crash=True)
        cluster.start()
        return
    assert pipeline.end_worker(signal.SIGKILL) == -signal.SIGKILL, pipeline.said()
    pipeline.start_worker()


def entries(connection: Any) -> Iterator[Entry]:
    with closing(connection), connection.cursor("entries") as cursor:
        cursor.execute(
            'SELECT id, "table", operation, before::text, after::text, position FROM changes ORDER BY id'
        )
        for identifier, *rest in cursor:
            yield Entry(UUID(str(identifier)), *rest)


def test_nothing_is_lost_and_nothing_twice(pipeline: TorturePipeline) -> None:
    chance = random.Random(SEED)
    pipeline.manage("bemi", "run", "--until-current", role=WORKER)
    pipeline.start_worker()
    with load(address(pipeline.source.server.url, OWNER)) as writers:
        for blow in range(BLOWS):
            # Random moments are what this is about.
            time.sleep(chance.uniform(0.1, 1.0))
            strike(pipeline, blow)
        time.sleep(chance.uniform(0.1, 1.0))
    assert all(writer.committed for writer in writers)
    report = pipeline.manage("bemi", "verify")
    assert report.count("as in the log") == 3, report
    assert pipeline.end_worker(signal.SIGTERM) == 0, pipeline.said()
    found = fold(entries(pipeline.connect(pipeline.log)))
    with closing(pipeline.connect(pipeline.source)) as connection, connection.cursor() as cursor:
        expected = live(cursor, ("account", "entry", "note"))
    assert {table: found.get(table) for table in expected} == expected
    assert "" not in found, "a gap is in the log"
