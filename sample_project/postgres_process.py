"""The process of a server: started on a free port, watched until it answers, stopped."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from sample_project.postgres_programs import ServerError, environment

HOST = "127.0.0.1"
SUPERUSER = "postgres"
START_SECONDS = 60


class _PortTaken(ServerError):
    pass


@dataclass(frozen=True)
class Site:
    """The directory of a server, and the subprocess arguments that name the user who runs it."""

    base: Path
    account: dict[str, Any]
    temporary: bool


def start(
    command: list[str], site: Site, port: int | None, password: str
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server on *port*, or on a free one; return its keeper and the port."""
    for _ in range(5):
        actual_port = port or free_port()
        keeper = _start_keeper([*command, "-p", str(actual_port)], site)
        try:
            _wait_until_ready(keeper, site.base / "server.log", actual_port, password)
            return keeper, actual_port
        except BaseException as error:
            stop(keeper)
            # Somebody else may have bound the free port in the meantime.
            if port or not isinstance(error, _PortTaken):
                raise
    raise ServerError("every free port was taken before the server could use it; try again")


def _start_keeper(command: list[str], site: Site) -> subprocess.Popen[bytes]:
    doomed = str(site.base) if site.temporary else ""
    order = json.dumps([os.getpid(), command, site.account, doomed])
    with (site.base / "server.log").open("wb") as log:
        # A session of its own: Ctrl-C must reach the clients of the server first, not the server.
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("postgres_keeper.py")), order],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment(),
            start_new_session=True,
        )


def _wait_until_ready(keeper: subprocess.Popen[bytes], log: Path, port: int, password: str) -> None:
    deadline, reason = time.monotonic() + START_SECONDS, ""
    address = {"host": HOST, "user": SUPERUSER, "dbname": SUPERUSER}
    while time.monotonic() < deadline:
        if keeper.poll() is not None:
            text = log.read_text(errors="replace")
            if "Address already in use" in text:
                raise _PortTaken(_taken(port))
            raise ServerError(f"the server did not start: {cause(text)}; correct that and try again")
        try:
            psycopg2.connect(**address, port=port, password=password, connect_timeout=5).close()
            return
        except psycopg2.OperationalError as error:
            reason = cause(str(error))
            time.sleep(0.02)
    raise ServerError(
        f"the server was not ready after {START_SECONDS} s: {reason}; correct that and try again"
    )


def stop(keeper: subprocess.Popen[bytes]) -> None:
    assert keeper.stdin is not None
    # A byte, not only the end of the pipe: a forked child may hold another copy of it.
    with suppress(BrokenPipeError), keeper.stdin as pipe:
        pipe.write(b".")
    keeper.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def require_free(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                raise _PortTaken(_taken(port)) from None
            raise ServerError(f"port {port} cannot be used: {error}; choose another port") from None


def _taken(port: int) -> str:
    return f"port {port} is taken; choose another port, or name none to get a free one"


def cause(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["no reason given"]
    causes = [line for line in lines if re.search(r"\b(FATAL|error|could not)\b", line)]
    return (causes or lines[-1:])[0]
