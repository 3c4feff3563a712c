"""PostgreSQL servers of the tests' own, which they may stop, crash and fill."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sample_project.postgres_server import ADDRESSES, Server, postgres_server
from tests.support.polling import until
from tests.support.reserved_port import ReservedPort
from tests.support.roles import PASSWORD
from tests.support.server_folder import server_folder


class Cluster:
    """A server that keeps its port and its data when it is started again; *settings* configure it."""

    def __init__(self, **settings: str) -> None:
        self.directory = server_folder("bemi-cluster-")
        self._settings = settings
        self._running, self._port = ExitStack(), ReservedPort()
        self._server: Server | None = None
        self._connection: Any = None
        self.start()

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    @property
    def parameters(self) -> dict[str, Any]:
        """libpq's parameters for a superuser, without TLS so that a proxy can read along."""
        server = self.server
        address = {"host": server.host, "port": server.port, "dbname": server.dbname, "sslmode": "disable"}
        return {**address, "user": server.user, "password": server.password}

    def parameters_of(self, role: str) -> dict[str, Any]:
        return {**self.parameters, "user": role, "password": PASSWORD}

    def start(self) -> None:
        with pytest.MonkeyPatch.context() as environment:
            for name in ADDRESSES:
                environment.delenv(name, raising=False)
            self._server = self._running.enter_context(
                postgres_server(self.directory, self._port.number, settings=self._settings)
            )

    def stop(self, is_crash: bool = False) -> None:
        """Stop as ``pg_ctl stop -m fast`` does; as ``-m immediate`` does if it is a crash."""
        if is_crash:
            self._signal(signal.SIGQUIT)
        self._running.close()

    def shut_down(self) -> None:
        """Stop as ``pg_ctl stop -m fast`` does, however long it takes; fail if it hangs."""
        self._signal(signal.SIGINT)
        until(lambda: not self._pid_file.exists(), why=lambda: "the server is still shutting down")
        self.stop()

    @property
    def _pid_file(self) -> Path:
        return self.directory / "data" / "postmaster.pid"

    def configure(self, **settings: str) -> None:
        """Change settings, for when the server is started again."""
        self._settings = {**self._settings, **settings}

    def promote(self) -> None:
        """End the recovery of a standby: it becomes a primary, on a new timeline."""
        assert self.one("SELECT pg_promote()")

    def has_synchronised(self, slot: str) -> bool:
        """Tell whether a promotion now would keep the logical slot."""
        query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND synced AND NOT temporary"
        return bool(self.one(query, [slot]))

    def _signal(self, number: signal.Signals) -> None:
        os.kill(int(self._pid_file.read_text().split()[0]), number)

    def close(self) -> None:
        """Stop the server and remove its data."""
        if self._connection is not None:
            self._connection.close()
        self.stop()
        self._port.close()
        shutil.rmtree(self.directory)

    def run(self, statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
        """Run a statement as a superuser, in autocommit, and return the rows; reconnect when needed."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(**self.parameters)
            self._connection.autocommit = True
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall()) if cursor.description else []
        except psycopg2.OperationalError:
            if not self._connection.closed:
                raise
        return self.run(statement, parameters)

    read = administer = run

    def one(self, query: str, parameters: Sequence[object] | None = None) -> Any:
        """Return the only value of the answer."""
        ((value,),) = self.run(query, parameters)
        return value


@contextmanager
def transaction(cluster: Cluster) -> Iterator[Any]:
    """Yield a superuser's cursor in a transaction, which is rolled back."""
    with closing(psycopg2.connect(**cluster.parameters)) as connection, connection.cursor() as cursor:
        yield cursor
