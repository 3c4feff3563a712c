"""``bemi`` in processes that are forked from one that has loaded the package: each of them costs little."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from tests.support.paths import ROOT
from tests.support.polling import DEADLINE


class ForkedCommand:
    """A command that was started; it has ended when the block has."""

    def __init__(self, commands: ForkedCommands, process: int, output: Path) -> None:
        self._commands, self._process, self._output = commands, process, output

    @property
    def said(self) -> str:
        """What it has printed so far, errors included."""
        return self._output.read_text()

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process, number)

    def ends(self) -> Ended:
        """Wait for its end."""
        return Ended(self._commands.ask(self._process), self.said)


class Ended(NamedTuple):
    """The exit status of a command, and all that it has printed."""

    status: int
    said: str


class ForkedCommands:
    """Starts commands with the same configuration; a context manager.

    Args:
        directory: Where the output of each is written to.
        environment: Environment variables of ``bemi``, with the source.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory, self._count = directory, 0
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE") and not name.startswith(("BEMI_", "PG"))
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked_commands"],
            env={**kept, "PYTHONPATH": str(ROOT), **environment},
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> ForkedCommands:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate(timeout=DEADLINE)

    def start(self, *arguments: str) -> ForkedCommand:
        self._count += 1
        output = self._directory / f"{self._count}.txt"
        output.touch()
        return ForkedCommand(self, self.ask([str(output), *arguments]), output)

    def run(self, *arguments: str) -> str:
        """Run a command that has to succeed, and return what it printed."""
        status, said = self.start(*arguments).ends()
        assert status == 0, f"{arguments}: {said}"
        return said

    def ask(self, request: int | Sequence[str]) -> int:
        """Start what a list says, and return the process; or wait for a process, and return its status."""
        to_server, from_server = self._pipes()
        to_server.write(json.dumps(request) + "\n")
        to_server.flush()
        # There is one answer to each request, so nothing of it has been read before.
        ready, _, _ = select.select([from_server], [], [], DEADLINE)
        assert ready, f"no answer to {request}: {self._said()}"
        return int(from_server.readline())

    def _said(self) -> dict[str, str]:
        """Return what each command has printed."""
        return {path.name: path.read_text() for path in sorted(self._directory.glob("*.txt"))}

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._server.stdin is not None and self._server.stdout is not None
        return self._server.stdin, self._server.stdout


def main() -> None:
    """Be the process from which the others are forked."""
    from bemi_django.cli.configuration import configuration_of
    from bemi_django.cli.project import configure

    configuration, _ = configuration_of([], os.environ)
    configure(configuration)
    from bemi_django.cli import command

    # Whoever runs the tests in the background ignores it, and so would the commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(request, 0)[1])
        elif not (answer := os.fork()):
            output, *arguments = request
            _become(output)
            os._exit(_status_of(partial(command.run, arguments, configuration)))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _become(output: str) -> None:
    opened = os.open(output, os.O_WRONLY)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _status_of(run: Callable[[], object]) -> int:
    status = 0
    try:
        run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 3
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    main()
