"""Records of Debezium's engine, and what our own reader has made of the same WAL.

``make torture`` makes them anew and compares; with ``BEMI_RECORD``, it also replaces the files.
"""

from __future__ import annotations

import gzip
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.cluster import Cluster
from tests.support.debezium_trail import DebeziumTrail, Logged, with_oids

_DIRECTORY = Path(__file__).with_name("debezium_records")
#: Properties of the connector, by the name of the recording.
RECORDINGS = {
    "plain": {},
    "schemas": {
        "converter_schemas_enable": "true",
        "provide_transaction_metadata": "true",
        "interval_handling_mode": "string",
        "time_precision_mode": "adaptive_time_microseconds",
    },
    "strings": {
        "decimal_handling_mode": "string",
        "interval_handling_mode": "string",
        "time_precision_mode": "isostring",
        "binary_handling_mode": "hex",
    },
    "doubles": {
        "converter_schemas_enable": "true",
        "decimal_handling_mode": "double",
        "time_precision_mode": "connect",
    },
}


class Recording(NamedTuple):
    """Lines of records, with the oids that they name, and the log of our own reader."""

    lines: list[bytes]
    oids: dict[str, int]
    changes: list[Logged]

    def lines_for(self, trail: DebeziumTrail) -> list[bytes]:
        """Return the lines as if they came from the tables of a trail."""
        return with_oids(self.lines, self.oids, trail.oids())


def load(name: str) -> Recording:
    """Return a recording."""
    with gzip.open(_DIRECTORY / f"{name}.json.gz", "rt") as file:
        found = json.load(file)
    lines = [line.encode() for line in found["lines"]]
    return Recording(lines, found["oids"], [Logged._make(change) for change in found["changes"]])


def record(name: str, cluster: Cluster) -> None:
    """Record what the engine sends."""
    from tests.support.debezium_process import DebeziumProcess
    from tests.support.debezium_writes import write_everything

    with closing(DebeziumTrail(cluster)) as trail:
        trail.make("own")
        trail.read_slot("own")
        engine = DebeziumProcess(trail, **RECORDINGS[name])
        engine.start()
        # Otherwise the commits come before it has begun to read.
        time.sleep(2)
        with trail.session() as cursor:
            write_everything(cursor)
        engine.wait_for('"last"')
        time.sleep(1)
        engine.stop()
        trail.read_slot("own")
        recorded: dict[str, Any] = {
            "oids": trail.oids(),
            "changes": trail.logged("own"),
            "lines": engine.output.read_text().splitlines(),
        }
        cluster.run("DROP DATABASE own WITH (FORCE)")
    _DIRECTORY.mkdir(exist_ok=True)
    with gzip.GzipFile(_DIRECTORY / f"{name}.json.gz", "w", mtime=0) as file:
        file.write(json.dumps(recorded, ensure_ascii=False).encode())
