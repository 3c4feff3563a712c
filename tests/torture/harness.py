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

import psycopg2

from tests.torture.cluster import Cluster
from tests.torture.load import TABLES

ROOT = Path(__file__).parents[2]
SECONDS = 1800


class Harness:
    """``worker_output`` is the file of what all workers said."""

    def __init__(self, directory: Path) -> None:
        self.source = Cluster(directory / "source")
        self.log = Cluster(directory / "log")
        self.worker_output = directory / "worker.log"
        self.worker_output.touch()
        self._worker: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.source.start()
        self.log.start()
        for alias in ("default", "log"):
            self.run("migrate", "--database", alias, "-v", "0")
        with closing(psycopg2.connect(self.source.url)) as connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
            connection.commit()

    def run(self, *arguments: str) -> str:
        """Run a subcommand of manage.py to its end and return its output."""
        return self.run_measured(*arguments)[0]

    def run_measured(self, *arguments: str) -> tuple[str, float]:
        """Like :meth:`run`, with the peak of its resident memory in MB."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self._command(arguments), cwd=ROOT, env=self._environment(), stdout=output, stderr=output
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
                env=self._environment(),
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

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SOURCE_URL": self.source.url,
            "LOG_URL": self.log.url,
            "DJANGO_SETTINGS_MODULE": "tests.torture.settings",
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
