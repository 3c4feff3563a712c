"""A pipeline to torture: two servers to crash, and a worker in a process to kill."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import Any

import psycopg2

from bemi_django.ingest.config import WorkerConfig
from tests.support import roles
from tests.support.cluster import Cluster
from tests.support.command import Command
from tests.support.pipeline import Pipeline
from tests.support.random_load import TABLES

#: Ends what hangs.
SECONDS = 1800
_OWNER = f"""
CREATE ROLE {roles.OWNER} LOGIN PASSWORD '{roles.VERIFIER}';
GRANT CREATE ON DATABASE postgres TO {roles.OWNER};
GRANT CREATE ON SCHEMA public TO {roles.OWNER};
"""
_PASSWORD = f"ALTER ROLE {roles.WORKER} PASSWORD '{roles.VERIFIER}';"


class TorturePipeline(Pipeline):
    """Installed as a project does it: migrations, ``sync`` and ``grants`` of manage.py.

    The tables belong to a role that is no superuser, and the worker has what ``bemi grants`` prints.
    """

    source: Cluster
    log: Cluster

    def __init__(self, source: Cluster, log: Cluster) -> None:
        config = WorkerConfig(
            source.parameters_of(roles.WORKER), log.parameters_of(roles.WORKER), "bemi_torture", "bemi"
        )
        super().__init__(config, source, log)
        self._process: Command | None = None
        self._install()

    def connect(self, cluster: Cluster) -> Any:
        """Return a connection of the owner of the tables."""
        return psycopg2.connect(**cluster.parameters_of(roles.OWNER))

    def manage(self, *arguments: str, role: str = roles.OWNER) -> str:
        """Run a subcommand of manage.py to its end and return its output; role "" is the superuser."""
        return self.manage_measured(*arguments, role=role)[0]

    def manage_measured(self, *arguments: str, role: str = roles.WORKER) -> tuple[str, float]:
        """Like :meth:`manage`, with the peak of the process's resident memory in MB."""
        with self.command(*arguments, role=role) as command:
            status, peak = command.ends_with_peak(SECONDS)
            assert status == 0, f"{command.out}{command.errors}\n{self.said()}"
            return command.out, peak

    def command(self, *arguments: str, role: str = roles.OWNER) -> Command:
        """Start a subcommand of manage.py."""
        source, log = (
            roles.address(cluster.server.url, role) if role else cluster.server.url
            for cluster in (self.source, self.log)
        )
        return Command(*arguments, source=source, log=log, slot=self.slot)

    def start_worker(self) -> None:
        self.close()
        self._process = self.command("bemi", "run", role=roles.WORKER)

    def end_worker(self, number: signal.Signals) -> int:
        """Send the worker a signal and return its exit status."""
        assert self._process is not None
        self._process.send(number)
        return self._process.ends(SECONDS)

    def ended_worker(self) -> int:
        """Wait for the end of the worker, and return its exit status."""
        assert self._process is not None
        return self._process.ends(SECONDS)

    def said(self) -> str:
        """Return the end of what the worker has printed."""
        return (self._process.out + self._process.errors)[-5000:] if self._process else ""

    def close(self) -> None:
        """Kill the worker that is still there."""
        if self._process is not None:
            with self._process:
                pass

    def _install(self) -> None:
        for cluster in (self.source, self.log):
            cluster.run(_OWNER)
        for alias in ("default", "log"):
            self.manage("migrate", "--database", alias, "-v", "0")
        # The event triggers take a superuser.
        self.manage("bemi", "sync", role="")
        with closing(self.connect(self.source)) as connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
            connection.commit()
        of_source, of_log = self.manage("bemi", "grants").split("\n-- log:")
        self.source.run(of_source + _PASSWORD)
        self.log.run(f"-- log:{of_log}{_PASSWORD}")
