"""The keeper of a server: a program that ends the server together with the process that asked for it.

It runs as a file, without the packages of this project on its path.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

# A fast shutdown, an immediate one, and the end: signal and seconds to wait.
STOP_STEPS = ((signal.SIGINT, 20), (signal.SIGQUIT, 10), (signal.SIGKILL, 10))


def keep(owner: int, command: list[str], account: dict[str, Any], doomed: str) -> None:
    """Run *command* until *owner* ends or writes to our standard input; then remove *doomed*."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, **account)
    try:
        while server.poll() is None and os.getppid() == owner:
            if select.select([sys.stdin], [], [], 0.1)[0]:
                break
    finally:
        # The owner wants the log of a server that ended by itself.
        wanted = server.poll() is not None
        _shut_down(server)
        if doomed and not wanted:
            shutil.rmtree(doomed, ignore_errors=True)


def _shut_down(server: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for stop, seconds in STOP_STEPS:
        if server.poll() is None:
            server.send_signal(stop)
            with suppress(subprocess.TimeoutExpired):
                server.wait(seconds)


if __name__ == "__main__":
    keep(*json.loads(sys.argv[1]))
