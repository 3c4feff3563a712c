"""The processes of the demo: started one after another, stopped in reverse order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAIL_LINES = 20
STOP_SECONDS = 15
WAIT_SECONDS = 30


class DemoError(Exception):
    """The demo cannot go on; the message is for the person who started it."""


class Children:
    """Run ``manage.py`` subcommands on one database; their output goes to files in *log_dir*."""

    def __init__(self, database_url: str, log_dir: Path, settings: str) -> None:
        self._env = os.environ | {
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONUNBUFFERED": "1",
        }
        self._log_dir = log_dir
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *args: str, **env: str) -> str:
        """Run a subcommand to its end and return its output."""
        done = subprocess.run(
            _manage(args),
            cwd=ROOT,
            env=self._env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise DemoError(f"{args[0]} failed:\n{_tail(done.stdout)}")
        return done.stdout

    def follow(self, module: str, *args: str, say: Callable[[str], None]) -> None:
        """Run a module to its end; pass on the lines that it prints."""
        with subprocess.Popen(
            [sys.executable, "-m", module, *args],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            lines = []
            for line in process.stdout or ():
                lines.append(line)
                say(f"  {line.rstrip()}")
        if process.returncode:
            raise DemoError(f"{module} failed:\n{_tail(''.join(lines))}")

    def start(self, name: str, *args: str) -> None:
        """Start a subcommand in a session of its own, out of reach of Ctrl-C in the terminal."""
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                _manage(args),
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise DemoError if one of the started processes has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                ending = f"the {name} ended with status {process.returncode}"
                raise DemoError(f"{ending}:\n{self._log_tail(name)}".rstrip(":\n"))

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until *ready* returns true; raise DemoError if a process ends or it takes too long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(map(self._log_tail, self._running))
                raise DemoError(f"waited {WAIT_SECONDS} s for {what}:\n{logs}".rstrip(":\n"))
            time.sleep(0.1)

    def stop(self) -> None:
        for process in reversed(self._running.values()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def _log(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def _log_tail(self, name: str) -> str:
        return _tail(self._log(name).read_text("utf-8", errors="replace"))


def _manage(args: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "sample_project.manage", *args]


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-TAIL_LINES:])
