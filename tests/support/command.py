"""``manage.py bemi run`` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

from tests.support.polling import until

ROOT = Path(__file__).parents[2]
MANAGE = [sys.executable, str(ROOT / "sample_project" / "manage.py")]


class Command:
    """A context manager: the process does not outlive the block."""

    def __init__(self, source: str, log: str, slot: str, *arguments: str) -> None:
        settings = {
            "DJANGO_SETTINGS_MODULE": "tests.support.command_settings",
            "DATABASE_URL": source,
            "LOG_URL": log,
            "SLOT": slot,
        }
        self._files = ExitStack()
        self._out, self._errors = (
            self._files.enter_context(TemporaryFile())  # noqa: SIM115 - closed by the stack
            for _ in range(2)
        )
        self._process = subprocess.Popen(
            [*MANAGE, "bemi", "run", *arguments],
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
        """What it has said so far."""
        # Not by reading the file: its position is that of the process which writes.
        return os.pread(self._out.fileno(), 1 << 20, 0).decode()

    @property
    def errors(self) -> str:
        return os.pread(self._errors.fileno(), 1 << 20, 0).decode()

    def says(self, words: str) -> None:
        """Wait until it has said this."""
        until(lambda: words in self.out or self._process.poll() is not None, why=lambda: self.out)
        assert words in self.out, self.out + self.errors

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ends(self, seconds: float) -> int:
        """Wait for its end; return its exit status."""
        return self._process.wait(seconds)
