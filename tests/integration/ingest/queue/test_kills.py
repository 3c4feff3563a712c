"""Publisher and consumers are killed at random under load: nothing is lost or twice, all in order and sealed.

``BEMI_BLOWS`` is the number of kills: 100 in ``make torture``. ``BEMI_SEED`` chooses other moments.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import psycopg2
import pytest

from bemi_django.ingest.queue.lane_locks import LaneLocks
from bemi_django.seals.verify import snapshot, verify_over
from tests.support.command import Command
from tests.support.polling import DEADLINE, until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.roles import WORKER

BLOWS = int(os.environ.get("BEMI_BLOWS", "2"))
SEED = int(os.environ.get("BEMI_SEED", "1"))


@pytest.fixture
def sealed(queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueuedPipeline]:
    """Processes that seal what they write."""
    monkeypatch.setenv("TAMPER_EVIDENCE", "1")
    yield queued
    queued.trail.log.run("TRUNCATE _bemi.links, _bemi.chains")


def test_nothing_is_lost_and_nothing_twice(sealed: QueuedPipeline) -> None:
    queued = sealed
    chance = random.Random(SEED)
    arguments = (("run", "--to", queued.url), ("consume", queued.url), ("consume", queued.url))
    with ExitStack() as stack:

        def start(number: int) -> Command:
            return stack.enter_context(queued.process(*arguments[number]))

        with queued.trail.load():
            running = [start(number) for number in range(3)]
            until(lambda: queued.trail.logged(), why=lambda: "".join(one.out + one.errors for one in running))
            for blow in range(BLOWS):
                # Random moments are what this is about.
                time.sleep(chance.uniform(0.05, 0.4))
                number = (1, 0, 2)[blow % 3]
                running[number].send(signal.SIGKILL)
                assert running[number].ends() == -signal.SIGKILL
                # Another one takes over; this one comes back later.
                running[number] = start(number)
        queued.catch_up()
        with closing(psycopg2.connect(**queued.trail.log.parameters)) as connection:
            connection.autocommit = True
            report = verify_over(connection, (), lambda what, part: None, snapshot)
        assert list(map(str, report.findings)) == []
        assert report.changes == queued.trail.log.one("SELECT count(*) FROM changes")
        assert not any("row-value" in one.out + one.errors for one in running)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "paused"])
def test_another_consumer_takes_over(
    blow: signal.Signals, queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It asks the log each second.
    monkeypatch.setattr("bemi_django.ingest.queue.lane_locks._PAUSED", 1.5)
    trail = queued.trail
    with queued.process("consume", queued.url) as struck:
        trail.write(1)
        queued.publish()
        until(lambda: trail.logged())
        with queued.consumers():
            struck.send(blow)
            trail.write(20)
            queued.publish()
            queued.catch_up()
        if blow == signal.SIGSTOP:
            # It goes on with what comes then.
            struck.send(signal.SIGCONT)
            trail.write(1)
            queued.publish()
            queued.catch_up()


def test_a_consumer_that_was_paused_within_a_copy_is_no_obstacle(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.lane_locks._PAUSED_IN_COPY", 0.5)
    trail, goes_on = queued.trail, threading.Event()
    trail.write(10)
    queued.publish()

    class Rows:
        def read(self, size: int) -> bytes:
            goes_on.wait(DEADLINE)
            return b""

    with (
        closing(psycopg2.connect(**trail.log.parameters_of(WORKER))) as paused,
        ThreadPoolExecutor(1) as pool,
        paused.cursor() as cursor,
    ):
        assert LaneLocks(paused).balance() == ([("bemi_trail", lane) for lane in range(3)], [])
        copying = pool.submit(cursor.copy_expert, "COPY _bemi.dead_letters FROM STDIN", Rows())
        try:
            assert queued.consume() == 10
        finally:
            goes_on.set()
        with pytest.raises(psycopg2.OperationalError):
            copying.result()
    queued.catch_up()


def test_a_consumer_whose_copy_is_slow_is_left_alone(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.lane_locks._PAUSED_IN_COPY", 0.4)
    log = queued.trail.log
    rows = iter([b"x" * 20_000 + b"\n"] * 10)

    class SlowRows:
        def read(self, size: int) -> bytes:
            # A server reads on when it has what it waits for.
            time.sleep(0.1)
            return next(rows, b"")

    with (
        closing(psycopg2.connect(**log.parameters_of(WORKER))) as slow,
        closing(psycopg2.connect(**log.parameters_of(WORKER))) as other,
        ThreadPoolExecutor(1) as pool,
        slow.cursor() as cursor,
    ):
        LaneLocks(slow)
        cursor.execute("CREATE TEMPORARY TABLE slow (line text)")
        others = LaneLocks(other)
        copying = pool.submit(cursor.copy_expert, "COPY pg_temp.slow FROM STDIN", SlowRows())
        while not copying.done():
            others.balance()
            time.sleep(0.02)
        copying.result()
