"""Kill publisher, consumers and servers of a queue, and take the destination away: the log is complete.

``BEMI_BLOWS`` is the number of times: 100 in ``make torture``. ``BEMI_SEED`` chooses other moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.support.command import Command
from tests.support.load_pipeline import LoadPipeline, load_cluster
from tests.support.nats_cluster import NatsCluster
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline

BLOWS = int(os.environ.get("BEMI_BLOWS", "8"))
SEED = int(os.environ.get("BEMI_SEED", "1"))
#: Seconds without the destination, and without one of the servers of the queue.
AWAY = float(os.environ.get("BEMI_AWAY", "3"))


@pytest.fixture
def cluster() -> Iterator[NatsCluster]:
    with closing(NatsCluster()) as made:
        yield made


@pytest.fixture
def queued(cluster: NatsCluster) -> Iterator[QueuedPipeline]:
    with closing(load_cluster()) as source, closing(load_cluster(wal_level="replica")) as log:
        trail = LoadPipeline(source, log, "bemi_torture")
        trail.run()
        yield QueuedPipeline(trail, cluster)


@pytest.mark.skipif(BLOWS < 10, reason="servers take seconds to choose one that leads: make torture")
def test_nothing_is_lost_and_nothing_twice(queued: QueuedPipeline, cluster: NatsCluster) -> None:
    chance, trail = random.Random(SEED), queued.trail
    arguments = (("run", "--to", queued.url), ("consume", queued.url), ("consume", queued.url))
    with ExitStack() as stack:

        def start(number: int) -> Command:
            return stack.enter_context(queued.process(*arguments[number]))

        def said() -> str:
            return "".join(one.out + one.errors for one in running)[-5000:]

        running = [start(number) for number in range(3)]
        with trail.load():
            until(trail.logged, why=said)
            for blow in range(BLOWS):
                # Random moments are what this is about.
                time.sleep(chance.uniform(0.1, 1.0))
                if blow % 4 == 1:
                    node = chance.choice(cluster.nodes)
                    node.kill()
                    time.sleep(AWAY)
                    node.start()
                    cluster.wait()
                elif blow % 8 == 3:
                    trail.log.stop(is_crash=True)
                    time.sleep(AWAY)
                    trail.log.start()
                else:
                    number = chance.randrange(3)
                    running[number].send(signal.SIGKILL)
                    assert running[number].ends() == -signal.SIGKILL, said()
                    running[number] = start(number)
        queued.catch_up()
        assert "row-value" not in "".join(one.out + one.errors for one in running)
