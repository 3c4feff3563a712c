"""A baseline and its worker are killed again and again, while rows are written in every range."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
import pytest

from tests.support.fold import fold, live
from tests.support.polling import DEADLINE
from tests.support.roles import WORKER
from tests.support.torture_pipeline import TorturePipeline
from tests.torture.test_torture import BLOWS, SEED, entries, strike

ROWS = int(os.environ.get("BEMI_ROWS", "0")) // 100
#: Rows are written in each range by every second statement.
_STATEMENTS = (
    "UPDATE item SET n = n + 1 WHERE id %% 997 = %(any)s %% 997",
    "UPDATE item SET n = n + 1 WHERE id = %(any)s",
    "DELETE FROM item WHERE id %% 997 = %(any)s %% 997 AND n %% 5 = 4",
    "INSERT INTO item VALUES (%(any)s, 'new', 0) ON CONFLICT DO NOTHING",
    "UPDATE item SET body = 'changed' WHERE id %% 997 = %(any)s %% 997",
    "UPDATE item SET id = %(rows)s + %(any)s WHERE id = %(any)s",
)


class Writer(threading.Thread):
    """Writes at random to a table whose rows are older than the log."""

    def __init__(self, pipeline: TorturePipeline, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._pipeline, self._told_to_stop = pipeline, stop
        self._random = random.Random(seed)
        self.committed = 0

    def run(self) -> None:
        while not self._told_to_stop.is_set():
            with (
                suppress(psycopg2.Error),
                closing(self._pipeline.connect(self._pipeline.source)) as connection,
                connection.cursor() as cursor,
            ):
                self._write(connection, cursor)

    def _write(self, connection: Any, cursor: Any) -> None:
        # A deadlock or a key that is taken ends the session, as a crash of the server does.
        while not self._told_to_stop.wait(0.05):
            numbers = {"any": self._random.randint(1, ROWS), "rows": ROWS}
            cursor.execute(self._random.choice(_STATEMENTS), numbers)
            connection.commit()
            self.committed += 1


@contextmanager
def written(pipeline: TorturePipeline) -> Iterator[None]:
    """Have rows written in all ranges until the block ends."""
    stop = threading.Event()
    writers = [Writer(pipeline, seed, stop) for seed in range(3)]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        stop.set()
        for writer in writers:
            writer.join(DEADLINE)
    assert all(writer.committed for writer in writers)


@pytest.mark.skipif(not ROWS, reason="BEMI_ROWS says how many rows are read: make torture")
def test_a_baseline_is_exact_whatever_is_killed(pipeline: TorturePipeline) -> None:
    chance = random.Random(SEED)
    with closing(pipeline.connect(pipeline.source)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id int PRIMARY KEY, body text, n int)")
        cursor.execute("INSERT INTO item SELECT i, 'old ' || i, 0 FROM generate_series(1, %s) i", [ROWS])
        connection.commit()
        older = live(cursor, ["item"])
    pipeline.manage("bemi", "run", "--until-current", role=WORKER)
    pipeline.start_worker()
    command = ("bemi", "baseline", "public.item", "--range", "500")
    rate = str(ROWS // BLOWS)
    with written(pipeline):
        for blow in range(BLOWS):
            # Random moments are what this is about.
            with pipeline.command(*command, "--rate", rate) as baseline:
                time.sleep(chance.uniform(0.5, 3.0))
                if blow % 2:
                    # Of the five kinds, all in turn.
                    strike(pipeline, blow // 2)
                baseline.send(signal.SIGKILL)
                baseline.ends()
        print(pipeline.manage(*command))  # noqa: T201
    report = pipeline.manage("bemi", "verify", "public.item")
    assert "as in the log" in report, report
    assert pipeline.end_worker(signal.SIGTERM) == 0, pipeline.said()
    with closing(pipeline.connect(pipeline.source)) as connection, connection.cursor() as cursor:
        expected = live(cursor, ["item"])
        cursor.execute("SELECT id::text FROM item")
        keys = {key for (key,) in cursor.fetchall()}
    assert fold(entries(pipeline.connect(pipeline.log)), older)["item"] == expected["item"]
    recorded = Counter(pipeline.log.run("SELECT primary_key FROM changes WHERE operation = 'BASELINE'"))
    assert recorded and set(recorded.values()) == {1}, "a row was recorded twice"
    known = {key for (key,) in pipeline.log.run("SELECT DISTINCT primary_key FROM changes")}
    assert keys <= known, "a row was not recorded"
