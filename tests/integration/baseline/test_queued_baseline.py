"""``bemi baseline`` while a queue is between the worker and the log, which is in the source."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.wire.queue_address import parse
from tests.support import roles
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK, Pipeline, worker_config
from tests.support.polling import DEADLINE
from tests.support.project_database import execute


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    with closing(NatsServer()) as server:
        yield server


def test_rows_are_recorded_once(pipeline: Pipeline, nats_server: NatsServer) -> None:
    execute("CREATE TABLE public.page (id int PRIMARY KEY, word text)")
    execute("INSERT INTO public.page SELECT i, 'old ' || i FROM generate_series(1, 50) i")
    execute("ALTER TABLE public.page SET SCHEMA lab")
    pipeline.drain()
    pipeline.stop()
    config = pipeline.config._replace(queue=parse(nats_server.url(lanes=2)))
    consumer = Consumer(config, QUICK)
    with ThreadPoolExecutor(1) as pool:
        with pipeline.worker(config=config):
            execute("UPDATE lab.page SET word = 'new' WHERE id <= 10")
            running = pool.submit(consumer.run)
            try:
                owner = worker_config(pipeline.slot, role=roles.OWNER)
                list(baseline(owner, BaselineOptions(only=("lab.page",))))
            finally:
                consumer.stop()
                running.result(DEADLINE)
        pipeline.release()
    Consumer(config, QUICK).run(until_current=True)
    counted = "SELECT operation, count(*) FROM changes WHERE \"table\" = 'page' GROUP BY 1 ORDER BY 1"
    assert execute(counted) == [("BASELINE", 40), ("UPDATE", 10)]
    # The log goes on without the queue.
    execute("UPDATE lab.page SET word = 'later' WHERE id = 50")
    assert [change.key for change in pipeline.drain() if change.table == "page"][-1] == "50"
    execute("DELETE FROM _bemi.lanes")
