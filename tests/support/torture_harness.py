"""A source, a destination, and the worker between them: servers to crash, a process to kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from tests.support import roles
from tests.support.crashing_cluster import Cluster
from tests.support.random_load import TABLES

ROOT = Path(__file__).parents[2]
SECONDS = 1800
_OWNER = f"""
CREATE ROLE {roles.OWNER} LOGIN PASSWORD '{roles.PASSWORD}';
GRANT CREATE ON DATABASE postgres TO {roles.OWNER};
GRANT CREATE ON SCHEMA public TO {roles.OWNER};
"""
_PASSWORD = f"ALTER ROLE {roles.WORKER} PASSWORD '{roles.PASSWORD}';"


class Harness:
    """``worker_output`` is the file of what all workers said.

    The tables belong to a role that is no superuser, and the worker has what ``bemi grants`` prints.
    """

    def __init__(self, directory: Path) -> None:
        self.source = Cluster(directory / "source")
        self.log = Cluster(directory / "log")
        self.worker_output = directory / "worker.log"
        self.worker_output.touch()
        self._worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.source.start()
        self.log.start()
        for cluster in (self.source, self.log):
            cluster.run(_OWNER)
        for alias in ("default", "log"):
            self.run("migrate", "--database", alias, "-v", "0")
        # The event triggers, which take a superuser.
        self.run("bemi", "sync", role="")
        with closing(self.connect(self.source)) as connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
            connection.commit()
        of_source, of_log = self.run("bemi", "grants").split("\n-- log:")
        self.source.run(of_source + _PASSWORD)
        self.log.run(f"-- log:{of_log}{_PASSWORD}")

    def connect(self, cluster: Cluster) -> Any:
        """As the owner of the tables."""
        return psycopg2.connect(roles.address(cluster.url, roles.OWNER))

    def run(self, *arguments: str, role: str = roles.OWNER) -> str:
        """Run a subcommand of manage.py to its end and return its output; role "" is the superuser."""
        return self.run_measured(*arguments, role=role)[0]

    def run_measured(self, *arguments: str, role: str = roles.WORKER) -> tuple[str, float]:
        """Like :meth:`run`, with the peak of its resident memory in MB."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self._command(arguments), cwd=ROOT, env=self._environment(role), stdout=output, stderr=output
            )
            peak = 0.0
            while process.poll() is None:
                peak = _peak_of(process.pid) or peak
                time.sleep(0.02)
            output.seek(0)
            text = output.read().decode()
        assert process.returncode == 0, f"{text}\n{self.said()}"
        return text, peak

    def start_worker(self) -> None:
        with self.worker_output.open("ab") as output:
            self._worker = subprocess.Popen(
                self._command(("bemi", "run")),
                cwd=ROOT,
                env=self._environment(roles.WORKER),
                stdout=output,
                stderr=output,
            )

    def end_worker(self, number: signal.Signals) -> int | None:
        """Send the signal and return the exit status; None without a worker."""
        if self._worker is None:
            return None
        self._worker.send_signal(number)
        return self._worker.wait(SECONDS)

    def said(self) -> str:
        return self.worker_output.read_text()[-5000:]

    def close(self) -> None:
        self.end_worker(signal.SIGKILL)
        self.log.stop()
        self.source.stop()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "django", *arguments]

    def _environment(self, role: str) -> dict[str, str]:
        source, log = (
            roles.address(cluster.url, role) if role else cluster.url for cluster in (self.source, self.log)
        )
        return {
            **os.environ,
            "SOURCE_URL": source,
            "LOG_URL": log,
            "DJANGO_SETTINGS_MODULE": "tests.support.torture_settings",
        }


def _peak_of(process: int) -> float:
    """In MB; 0 once it has ended. What wait4() tells is no less than what the tests themselves have."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that the user of the servers can enter."""
    path = Path(tempfile.mkdtemp(prefix="bemi-torture-", dir="/var/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
