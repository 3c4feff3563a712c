"""``make demo`` as a person starts it: it shows the log, serves the site, and stops what it started."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.support.paths import ROOT
from tests.support.polling import DEADLINE

DEMO = [sys.executable, "-m", "sample_project.demo"]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def takewhile_inclusive(go_on: Callable[[str], bool], lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if not go_on(line):
            return


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_demo_shows_the_log_serves_the_site_and_ends_with_ctrl_c(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a server of its own, whatever server the tests use.
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("COLUMNS", "160")
    site = f"http://127.0.0.1:{free_port}/"
    with subprocess.Popen(
        [*DEMO, "--port", str(free_port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        # As a shell starts a program in the background: Ctrl-C must end it nevertheless.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as demo:
        assert demo.stdout is not None
        try:
            lines = list(takewhile_inclusive(lambda line: "Ctrl-C" not in line, demo.stdout))
            page = urllib.request.urlopen(f"{site}accounts/login/").read().decode()
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=DEADLINE)
        finally:
            demo.kill()
    assert lines[-1] == f"{site}  login: demo / demo  (Ctrl-C stops everything)\n"
    table = "".join(lines)
    steps = [re.split(r"[ :]", line)[0] for line in lines[: lines.index("The table changes has:\n")]]
    assert {"Starting", "Migrating", "Creating", "Completing", "Deleting", "Waiting"} <= set(steps)
    assert f"  {site}admin/bemi_django/change/  every change: search, history, revert\n" in lines
    assert demo.returncode == 0
    assert "Log in" in page
    for column in ("primary_key", "table", "operation", "before", "after", "context", "committed_at"):
        assert re.search(rf"┃ *{column}", table), column
    assert max(map(len, lines)) <= 161
    for cell in ("│ task: Sleep ", "│ is_completed: false ", "│ endpoint: /api/todos/ "):
        assert cell in table, cell
    assert not is_open(free_port)


def test_a_taken_port_is_one_line_that_says_what_to_do(free_port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        done = subprocess.run(
            [*DEMO, "--port", str(free_port)], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE
        )
    assert done.returncode == 1
    assert done.stderr == f"port {free_port} is taken; use another: make demo PORT={free_port + 1}\n"


def test_the_shop_is_played_and_its_times_are_of_the_days_that_it_shows(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with subprocess.Popen(
        [*DEMO, "--shop", "--days", "1", "--scale", "0.01", "--port", str(free_port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            lines = list(takewhile_inclusive(lambda line: "Ctrl-C" not in line, demo.stdout))
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=DEADLINE)
        finally:
            demo.kill()
    assert "  day 1 of 1\n" in lines
    assert any(re.fullmatch(r"  \d+ changes in 1 days\n", line) for line in lines)
    assert demo.returncode == 0
