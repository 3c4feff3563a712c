"""A server that is made to crash and comes back on the same port with the same data."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2

from sample_project.postgres_server import Server, postgres_server


class Cluster:
    """``directory`` must be open to the user of the server."""

    def __init__(self, directory: Path, settings: dict[str, str] | None = None) -> None:
        self._directory = directory
        self._settings = settings or {}
        self._running = ExitStack()
        self._port: int | None = None
        self.url = ""

    def start(self) -> None:
        server: Server = self._running.enter_context(
            postgres_server(self._directory, self._port, settings=self._settings)
        )
        self._port = server.port
        self.url = server.url

    def crash(self) -> None:
        """What PostgreSQL calls an immediate stop: nothing is written any more, all processes end."""
        pid = int((self._directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        self.stop()

    def stop(self) -> None:
        self._running.close()

    def run(self, script: str) -> None:
        """Run SQL as the superuser."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(script)
