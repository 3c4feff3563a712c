"""Kill all parts of a queue, take the destination away, fill the disk: the log is complete.

``BEMI_BLOWS`` is the number of times: 100 in ``make torture``. ``BEMI_SEED`` chooses other moments.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.queue.consumer import Consumer
from tests.support.command import Command
from tests.support.load_pipeline import LoadPipeline, load_cluster
from tests.support.nats_cluster import NatsCluster
from tests.support.nats_server import NatsServer
from tests.support.one_way_proxy import OneWayProxy
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until
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


@contextmanager
def small_disk(server: NatsServer) -> Iterator[Path]:
    """Let a server keep its data on a disk of its own, of 4 MB, and think that it has more."""
    server.kill()
    data, configuration = server.directory / "data", server.directory / "nats.conf"
    content = configuration.read_text().replace("jetstream {", "jetstream { max_file_store: 1GB,")
    configuration.write_text(content)
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", data], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.decode().strip()}")
    try:
        server.start()
        yield data
    finally:
        server.kill()
        subprocess.run(["umount", data], check=True)
        server.start()


@pytest.mark.skipif(BLOWS < 10, reason="it mounts a disk: make torture")
def test_the_disk_of_the_queue_is_full() -> None:
    with (
        closing(load_cluster()) as source,
        closing(load_cluster(wal_level="replica")) as log,
        closing(NatsServer()) as server,
        small_disk(server) as disk,
    ):
        trail = LoadPipeline(source, log, "bemi_torture")
        trail.run()
        queued = QueuedPipeline(trail, server)
        before = trail.confirmed()
        source.run(
            "INSERT INTO load (id, n, filler) SELECT i, i, 'row-value' || repeat('x', 10000) "
            "FROM generate_series(1, 1000) i"
        )
        with queued.publisher():
            until(lambda: log.one("SELECT trouble FROM _bemi.checkpoint"))
            assert trail.confirmed() == before
            assert shutil.disk_usage(disk).free < 100_000
            # As an operator would: make room, and start the server again.
            server.kill()
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            server.start()
            with queued.consumers(2):
                queued.catch_up()
                until(lambda: trail.confirmed() > before)


@pytest.mark.skipif(BLOWS < 10, reason="what does not answer is waited for, for seconds: make torture")
@pytest.mark.parametrize("from_client", [True, False], ids=["nothing arrives", "no answer arrives"])
@pytest.mark.parametrize("is_publisher", [True, False], ids=["publisher", "consumer"])
def test_a_network_that_works_in_one_direction(
    queued: QueuedPipeline, cluster: NatsCluster, is_publisher: bool, from_client: bool
) -> None:
    queue = queued.config.queue
    assert queue is not None
    with closing(OneWayProxy(int(cluster.servers[0].rpartition(":")[2]))) as proxy:
        beside = queue._replace(servers=(f"nats://127.0.0.1:{proxy.port}",))
        own, other = (queued.config._replace(queue=beside), queued.config)
        publisher = Supervisor(own if is_publisher else other, QUICK)
        consumer = Consumer(other if is_publisher else own, QUICK)
        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(publisher.run), pool.submit(consumer.run)]
            try:
                with queued.trail.load(0.01):
                    until(lambda: len(queued.trail.logged()) > 20)
                    proxy.lose(from_client=from_client)
                    written = len(queued.trail.logged())
                    # Connections that are made then are whole.
                    until(lambda: len(queued.trail.logged()) > written + 1000)
                queued.catch_up()
            finally:
                publisher.stop()
                consumer.stop()
                for one in running:
                    one.result(DEADLINE)
