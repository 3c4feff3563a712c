"""Records of Debezium's engine, and what our own reader has made of the same WAL.

``make torture`` makes them anew and compares; with ``BEMI_RECORD``, it also replaces the files.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from bemi_django.ingest.debezium.reading.record import Modes
from tests.support.cluster import Cluster
from tests.support.debezium_process import DebeziumProcess
from tests.support.debezium_trail import DebeziumTrail, Logged, with_oids
from tests.support.debezium_writes import write_everything

_DIRECTORY = Path(__file__).with_name("debezium_records")
#: Properties of the connector, by the name of the recording.
RECORDINGS = {
    "plain": {"include_unknown_datatypes": "true"},
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
        "include_unknown_datatypes": "true",
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


def record(name: str, cluster: Cluster) -> Recording:
    """Return what the engine sends; with ``BEMI_RECORD``, keep it."""
    with closing(DebeziumTrail(cluster)) as trail:
        trail.make("own")
        try:
            recorded = _record(name, trail)
        finally:
            cluster.run("DROP DATABASE own WITH (FORCE)")
    if os.environ.get("BEMI_RECORD"):
        found = {**recorded._asdict(), "lines": [line.decode() for line in recorded.lines]}
        with gzip.GzipFile(_DIRECTORY / f"{name}.json.gz", "w", mtime=0) as file:
            file.write(json.dumps(found, ensure_ascii=False).encode())
    return recorded


def _record(name: str, trail: DebeziumTrail) -> Recording:
    trail.read_slot("own")
    engine = DebeziumProcess(trail, **RECORDINGS[name])
    engine.start()
    try:
        # Otherwise the commits come before it has begun to read.
        time.sleep(2)
        with trail.session() as cursor:
            write_everything(cursor)
        engine.wait_for('"last"')
        time.sleep(1)
    finally:
        engine.stop()
    trail.read_slot("own")
    lines = engine.output.read_bytes().splitlines()
    engine.remove()
    return Recording(lines, trail.oids(), trail.logged("own"))


#: Columns of types that the connector only sends with ``include.unknown.datatypes``.
_UNKNOWN = {"bx", "lsn", "dp", "nm"}
#: What the connector does not send as it is, by the recording: the columns; docs/debezium.md says why.
LOST = {
    "plain": {"an", "iv", "m", "nm", "pr"},
    "schemas": {"an", "m", "pr", *_UNKNOWN},
    "strings": {"nm", "pr"},
    "doubles": {"an", "iv", "m", "p", "pr", "ti", "ts", *_UNKNOWN},
}
#: Modes of a consumer, by the recording.
MODES = {"strings": Modes("string", "hex")}


def comparable(change: Logged, lost: set[str]) -> list[Any]:
    """Return a change without what is lost of its values."""
    kept = [
        {name: value for name, value in json.loads(row, parse_float=str).items() if name not in lost}
        for row in (change.before, change.after)
    ]
    unavailable = {
        side: [name for name in names if name not in lost]
        for side, names in json.loads(change.unavailable or "{}").items()
    }
    # An event that belongs to no transaction has the time at which it was read.
    moment = None if change.operation == "EVENT" else change.committed_at
    return [change[:6], *kept, json.loads(change.context), unavailable, change.transaction, moment]
