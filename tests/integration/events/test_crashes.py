"""A worker that is killed again and again records each event exactly once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2

from bemi_django import conf
from tests.support import roles
from tests.support.command import Command
from tests.support.pipeline import Pipeline
from tests.support.polling import until
from tests.support.processes import database_url
from tests.support.project_database import execute

_EMIT = "SELECT pg_logical_emit_message(%s, '_bemi_event', %s::text)"
_LOGGED = (
    "SELECT (context -> 'details' ->> 'n')::int FROM changes "
    "WHERE operation = 'EVENT' AND context ->> 'event' = 'crash' ORDER BY id"
)
BLOWS = 4


@contextmanager
def written() -> Iterator[list[int]]:
    """Write events until the block ends, every other one with a row; the list has those of them that stay."""
    numbers: list[int] = []
    stop = threading.Event()

    def write() -> None:
        with closing(psycopg2.connect(**conf.connection_parameters("default"))) as opened:
            number = 0
            while not stop.is_set():
                number += 1
                content = f'{{"event": "crash", "details": {{"n": {number}}}}}'
                with opened.cursor() as cursor:
                    if number % 2:
                        cursor.execute("INSERT INTO lab.counted VALUES (%s)", [number])
                    cursor.execute(_EMIT, [bool(number % 2), content])
                if number % 5:
                    opened.commit()
                else:
                    opened.rollback()
                if number % 5 or not number % 2:
                    numbers.append(number)
                stop.wait(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield numbers
    finally:
        stop.set()
        thread.join()


def test_events_are_recorded_exactly_once(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.counted (n int PRIMARY KEY)")
    pipeline.drain()
    pipeline.stop()
    place = {"source": database_url(), "log": database_url(), "slot": pipeline.slot}
    if roles.are_in_use():
        place["source"] = roles.address(place["source"], roles.WORKER)
    with written() as numbers:
        for blow in range(1, BLOWS + 1):
            with Command("bemi", "run", "--no-handlers", **place) as worker:
                until(lambda: len(execute(_LOGGED)) >= blow * 40, why=lambda: worker.out + worker.errors)  # noqa: B023
                worker.send(signal.SIGKILL)
                worker.ends()
            pipeline.release()
    pipeline.drain()
    assert [number for (number,) in execute(_LOGGED)] == numbers
    rows = {number for (number,) in execute("SELECT n FROM lab.counted")}
    assert rows == {number for number in numbers if number % 2}
