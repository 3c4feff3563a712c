"""PgBouncer in transaction mode in front of a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import until

CONFIGURATION = """
[databases]
{alias}* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_port = {listen}
unix_socket_dir = {directory}
unix_socket_mode = 0777
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""


class Pooler:
    """Accepts any login and has two connections to each database; *parameters* are libpq's.

    *alias* is another name for the database of the parameters. The pooler listens in a directory of its own,
    where no other one can be in its place, so its *host* is a path.
    """

    port = 6432

    def __init__(self, parameters: dict[str, Any], alias: str | None = None) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("no pgbouncer on PATH")
        self._directory = Path(tempfile.mkdtemp(prefix="bemi-pooler-", dir="/var/tmp"))
        self._directory.chmod(0o777)
        self.host = str(self._directory)
        configuration = self._directory / "pgbouncer.ini"
        server = {name: parameters[name] for name in ("host", "port", "user", "password")}
        line = "host={host} port={port} user={user} password={password} dbname={dbname}".format(**parameters)
        first = f"{alias} = {line}\n" if alias else ""
        configuration.write_text(
            CONFIGURATION.format(**server, listen=self.port, directory=self.host, alias=first)
        )
        # It refuses to run as root.
        account = {"user": "nobody"} if os.geteuid() == 0 else {}
        self._process = subprocess.Popen([program, "-q", str(configuration)], cwd="/", **account)  # type: ignore[call-overload]
        until(self._listens)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory)

    def _listens(self) -> bool:
        assert self._process.poll() is None
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(f"{self.host}/.s.PGSQL.{self.port}") == 0
