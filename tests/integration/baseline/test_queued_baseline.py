"""``bemi baseline`` while a queue is between the worker and the log, which is in the source."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from django.test import override_settings

from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.exceptions import LogBehind
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.management.baseline.named_sink import sink_of
from bemi_django.wire.queue_address import parse
from tests.support import roles
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK, Pipeline, worker_config
from tests.support.polling import DEADLINE
from tests.support.project_database import execute

_IDENTITY = """
SELECT concat_ws('/', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d
WHERE d.datname = current_database()
"""


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    with closing(NatsServer()) as server:
        yield server


def test_rows_are_recorded_once(pipeline: Pipeline, nats_server: NatsServer) -> None:
    execute("CREATE TABLE public.page (id int PRIMARY KEY, word text)")
    execute("INSERT INTO public.page SELECT i, 'old ' || i FROM generate_series(1, 50) i")
    execute("ALTER TABLE public.page SET SCHEMA lab")
    execute("CREATE TABLE public.leaf (id int PRIMARY KEY)")
    execute("INSERT INTO public.leaf SELECT generate_series(1, 5)")
    execute("ALTER TABLE public.leaf SET SCHEMA lab")
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
    # The log goes on without the queue, also with rows that are for all logs.
    with override_settings(BEMI_SLOT=pipeline.slot):
        sink = sink_of("default", config.queue).sink
    assert sink == f"{pipeline.slot}@{execute(_IDENTITY)[0][0]}"
    execute("DELETE FROM lab.leaf WHERE id = 1; INSERT INTO lab.leaf VALUES (1)")
    with pipeline.worker():
        (said,) = baseline(owner, BaselineOptions(only=("lab.leaf",), sink=sink, rows=2))
    assert str(said) == "lab.leaf: 5 rows, 5 of them sent to the logs, which leave out those they know"
    keys = "SELECT primary_key FROM changes WHERE \"table\" = 'leaf' AND operation = 'BASELINE' ORDER BY id"
    assert execute(keys) == [("2",), ("3",), ("4",), ("5",)]
    execute("UPDATE lab.page SET word = 'later' WHERE id = 50")
    assert [change.key for change in pipeline.drain() if change.table == "page"][-1] == "50"
    execute("DELETE FROM _bemi.lanes")


@pytest.mark.parametrize("way", ["asked by the publisher", "left to consumers", "written together"])
def test_a_row_is_recorded_although_a_dropped_table_of_the_same_name_had_its_key(
    way: str, pipeline: Pipeline, nats_server: NatsServer
) -> None:
    pipeline.drain()
    pipeline.stop()
    config = pipeline.config._replace(queue=parse(nats_server.url(lanes=2)))
    for key in (1, 2):
        execute("CREATE TABLE lab.page (id int PRIMARY KEY, word text)")
        execute("INSERT INTO lab.page VALUES (%s, 'of the dropped one')", [key])
        execute("DROP TABLE lab.page")
    execute("CREATE TABLE public.page (id int PRIMARY KEY, word text)")
    execute("INSERT INTO public.page SELECT i, 'old' FROM generate_series(1, 3) i")
    execute("ALTER TABLE public.page SET SCHEMA lab")
    execute("UPDATE lab.page SET word = 'new' WHERE id = 3")
    with override_settings(BEMI_SLOT=pipeline.slot):
        sink = "" if way == "asked by the publisher" else sink_of("default", config.queue).sink
    rows = baseline(
        worker_config(pipeline.slot, role=roles.OWNER),
        BaselineOptions(
            only=("lab.page",), sink=sink, patience=0.1 if way == "written together" else DEADLINE
        ),
    )
    if way == "written together":
        # Nobody writes the log meanwhile.
        with pytest.raises(LogBehind):
            list(rows)
        pipeline.run(config)
    else:
        consumer = Consumer(config, QUICK)
        with ThreadPoolExecutor(1) as pool, pipeline.worker(config=config):
            running = pool.submit(consumer.run)
            try:
                list(rows)
            finally:
                consumer.stop()
                running.result(DEADLINE)
        pipeline.release()
    Consumer(config, QUICK).run(until_current=True)
    recorded = (
        "SELECT primary_key FROM changes WHERE operation = 'BASELINE' AND \"table\" = 'page' ORDER BY 1"
    )
    assert execute(recorded) == [("1",), ("2",)]
    execute("DELETE FROM _bemi.lanes")
