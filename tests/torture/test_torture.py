"""Workers killed, servers crashed, under load: the log is complete, in commit order, no row twice.

``BEMI_TORTURE`` is the number of blows; ``make torture`` gives many.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import psycopg2
import pytest

from tests.torture.cluster import Cluster
from tests.torture.fold import Entry, fold, live
from tests.torture.load import TABLES, Writer

ROOT = Path(__file__).parents[2]
BLOWS = int(os.environ.get("BEMI_TORTURE", "10"))
SEED = int(os.environ.get("BEMI_TORTURE_SEED", "1"))
WRITERS = 3


class Torture:
    """A source under load, a destination, and the worker between them, whose output is a file."""

    def __init__(self, directory: Path) -> None:
        self.source = Cluster(directory / "source")
        self.log = Cluster(directory / "log")
        self.worker_output = directory / "worker.log"
        self._worker: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command(arguments),
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.worker_output.read_text()[-5000:]}"
        return done.stdout

    def start_worker(self) -> None:
        with self.worker_output.open("ab") as output:
            self._worker = subprocess.Popen(
                self._command(("bemi", "run")),
                cwd=ROOT,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end_worker(self, number: signal.Signals) -> int:
        """Send the signal and return the exit status."""
        if self._worker is None:
            return 0
        self._worker.send_signal(number)
        return self._worker.wait(30)

    def crash(self, cluster: Cluster) -> None:
        cluster.crash()
        cluster.start()

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


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that the user of the servers can enter."""
    path = Path(tempfile.mkdtemp(prefix="bemi-torture-", dir="/var/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def torture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Torture]:
    # Servers of our own: they are made to crash.
    for name in ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    with open_directory() as directory:
        made = Torture(directory)
        made.worker_output.touch()
        try:
            made.source.start()
            made.log.start()
            made.run("migrate", "--database", "default", "-v", "0")
            made.run("migrate", "--database", "log", "-v", "0")
            with closing(psycopg2.connect(made.source.url)) as connection, connection.cursor() as cursor:
                cursor.execute(TABLES)
                connection.commit()
            yield made
        finally:
            made.close()


@contextmanager
def load(url: str) -> Iterator[list[Writer]]:
    stop = threading.Event()
    writers = [Writer(url, seed, stop) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        stop.set()
        for writer in writers:
            writer.join(60)


def entries(url: str) -> list[Entry]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            'SELECT id, "table", operation, before::text, after::text, position FROM changes ORDER BY id'
        )
        return [Entry(UUID(identifier), *rest) for identifier, *rest in cursor.fetchall()]


def test_nothing_is_lost_and_nothing_twice(torture: Torture) -> None:
    chance = random.Random(SEED)
    torture.run("bemi", "run", "--until-current")
    torture.start_worker()
    with load(torture.source.url) as writers:
        for blow in range(BLOWS):
            # Random moments are what this is about.
            time.sleep(chance.uniform(0.1, 1.0))
            if blow % 5 == 3:
                torture.crash(torture.source)
            elif blow % 5 == 4:
                torture.crash(torture.log)
            else:
                assert torture.end_worker(signal.SIGKILL) == -signal.SIGKILL, (
                    torture.worker_output.read_text()
                )
                torture.start_worker()
        time.sleep(chance.uniform(0.1, 1.0))
    assert all(writer.committed for writer in writers)
    report = torture.run("bemi", "verify")
    assert report.count("as in the log") == 3, report
    assert torture.end_worker(signal.SIGTERM) == 0, torture.worker_output.read_text()
    log = entries(torture.log.url)
    with closing(psycopg2.connect(torture.source.url)) as connection, connection.cursor() as cursor:
        expected = live(cursor, ("account", "entry", "note"))
    found = fold(log)
    assert {table: found.get(table) for table in expected} == expected
    assert len(log) > 100 * BLOWS
    assert not [entry for entry in log if entry.operation == "GAP"]
