"""Publisher and consumers are killed at random under load: nothing is lost or twice, all in order and sealed.

``BEMI_BLOWS`` is the number of kills: 100 in ``make torture``. ``BEMI_SEED`` chooses other moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg2
import pytest

from bemi_django.seals.verify import snapshot, verify_over
from tests.support.command import Command
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline

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


def test_another_consumer_takes_over_within_seconds(queued: QueuedPipeline) -> None:
    trail = queued.trail
    with queued.process("consume", queued.url) as killed:
        trail.write(1)
        queued.publish()
        until(lambda: trail.logged())
        with queued.consumers():
            killed.send(signal.SIGKILL)
            since = time.monotonic()
            trail.write(20)
            queued.publish()
            queued.catch_up()
            assert time.monotonic() - since < 10
