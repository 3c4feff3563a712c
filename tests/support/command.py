"""``manage.py`` as a process of its own, in a project whose log is in another database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

from tests.support.paths import ROOT
from tests.support.polling import DEADLINE, until

MANAGE = [sys.executable, str(ROOT / "sample_project" / "manage.py")]


class Command:
    """A context manager: the process does not outlive the block."""

    def __init__(self, *arguments: str, source: str, log: str, slot: str, **environment: str) -> None:
        settings = {
            "DJANGO_SETTINGS_MODULE": "tests.support.command_settings",
            "DATABASE_URL": source,
            "LOG_URL": log,
            "SLOT": slot,
            **environment,
        }
        self._files = ExitStack()
        self._out, self._errors = (
            self._files.enter_context(TemporaryFile())  # noqa: SIM115 - closed by the stack
            for _ in range(2)
        )
        self._process = subprocess.Popen(
            [*MANAGE, *arguments],
            env={**os.environ, **settings},
            cwd=ROOT,
            stdout=self._out,
            stderr=self._errors,
        )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._files.close()

    @property
    def out(self) -> str:
        """Its standard output so far."""
        # Not by reading the file: the process that writes has the same position in it.
        return os.pread(self._out.fileno(), 1 << 20, 0).decode()

    @property
    def errors(self) -> str:
        """Its standard error so far."""
        return os.pread(self._errors.fileno(), 1 << 20, 0).decode()

    def says(self, words: str) -> None:
        """Wait until its output has these words."""
        until(lambda: words in self.out or self._process.poll() is not None, why=lambda: self.out)
        assert words in self.out, self.out + self.errors

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ends(self, seconds: float = DEADLINE) -> int:
        """Wait for its end and return its exit status."""
        return self._process.wait(seconds)

    def ends_with_peak(self, seconds: float) -> tuple[int, float]:
        """Wait for its end and return its exit status and the peak of its resident memory in MB."""
        peak = 0.0

        def has_ended() -> bool:
            nonlocal peak
            peak = _peak_of(self._process.pid) or peak
            return self._process.poll() is not None

        until(has_ended, seconds)
        return self._process.returncode, peak


def _peak_of(process: int) -> float:
    """Return 0 once the process has ended."""
    # What wait4() tells is no less than the memory of the tests, which the process was forked from.
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
