"""A PostgreSQL server of the tests' own, which they may stop, crash and fill."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from bemi_django.schema import sql
from sample_project.postgres_server import ADDRESSES, Server, postgres_server
from tests.support.roles import OWNER, PASSWORD, WORKER

#: The roles of a careful installation: everything belongs to one that is no superuser, the worker has what
#: "bemi grants" prints.
ROLES = f"""
CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE {WORKER} LOGIN REPLICATION PASSWORD '{PASSWORD}';
GRANT CREATE ON DATABASE postgres TO {OWNER};
GRANT CREATE ON SCHEMA public TO {OWNER};
"""
GRANTS = f"""
GRANT SELECT ON _bemi_relations TO {WORKER};
GRANT EXECUTE ON FUNCTION _bemi_describe_v1(oid, boolean), _bemi_types_v1(oid[]) TO {WORKER};
GRANT INSERT ON changes, bemi_dead_letters TO {WORKER};
GRANT SELECT, INSERT, UPDATE ON _bemi_checkpoint TO {WORKER};
GRANT EXECUTE ON FUNCTION _bemi_partition_v1(regclass, timestamptz) TO {WORKER};
"""
#: A table whose rows carry a value that must not appear in any line of the log, its publication and capture.
SETUP = """
CREATE TABLE load (id int PRIMARY KEY, n int NOT NULL, secret text NOT NULL DEFAULT 'row-value');
CREATE TABLE junk (text text);
CREATE PUBLICATION bemi FOR TABLE load;
ALTER TABLE load REPLICA IDENTITY FULL;
CREATE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON load
    FOR EACH STATEMENT EXECUTE FUNCTION _bemi_capture_v1();
"""


class Cluster:
    """Its objects are those of a source and those of a destination."""

    def __init__(self, **settings: str) -> None:
        # Not where pytest keeps files: the user of the server cannot enter there.
        self.directory = Path(tempfile.mkdtemp(prefix="bemi-cluster-", dir="/var/tmp"))
        self.directory.chmod(0o711)
        self._settings = settings
        self._running = ExitStack()
        self._server: Server | None = None
        self._connection: Any = None
        self.start()
        self.run(ROLES)
        self.run(f"SET ROLE {OWNER}")
        for script in (sql.read("capture_v1_up"), sql.read("changes_v1_up"), SETUP, GRANTS):
            self.run(script)
        self.run("RESET ROLE")

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    def parameters_of(self, role: str) -> dict[str, Any]:
        return {**self.parameters, "user": role, "password": PASSWORD}

    @property
    def parameters(self) -> dict[str, Any]:
        """What libpq connects with as a superuser, without TLS: a proxy reads along."""
        server = self.server
        address = {"host": server.host, "port": server.port, "dbname": server.dbname, "sslmode": "disable"}
        return {**address, "user": server.user, "password": server.password}

    def start(self) -> None:
        """Start, always on the same port."""
        with pytest.MonkeyPatch.context() as environment:
            for name in ADDRESSES:
                environment.delenv(name, raising=False)
            port = self._server.port if self._server else None
            self._server = self._running.enter_context(
                postgres_server(self.directory, port, settings=self._settings)
            )

    def stop(self, is_crash: bool = False) -> None:
        """Stop as ``pg_ctl stop -m fast`` does, or as ``-m immediate``."""
        if is_crash:
            pid = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)
        self._running.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self.stop()
        shutil.rmtree(self.directory)

    def run(self, statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
        """Run in autocommit, on a connection that is made again where it was lost; return the rows."""
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

    def one(self, query: str, parameters: Sequence[object] | None = None) -> Any:
        ((value,),) = self.run(query, parameters)
        return value
