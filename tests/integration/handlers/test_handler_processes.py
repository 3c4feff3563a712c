"""Processes that call handlers: killed, stopped, started anew, and side by side."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from django.db import connection

from bemi_django.models import Undelivered
from tests.shop.models import Category
from tests.support.pipeline import Drain, Pipeline
from tests.support.polling import DEADLINE, until
from tests.support.processes import running
from tests.support.project_database import execute


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


class Listeners:
    """What the handlers of ``tests.listeners`` write down, in processes of their own."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def start(self, *arguments: str) -> AbstractContextManager[Popen[str]]:
        return running("django", "bemi", "run", *arguments, settings="tests.support.listener_settings")

    @property
    def heard(self) -> list[str]:
        return self._file.read_text().splitlines()

    def until_end(self, *arguments: str) -> int:
        with self.start(*arguments, "--until-current") as process:
            return process.wait(DEADLINE)


@pytest.fixture
def listeners(
    drain: Drain, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Listeners]:
    settings.BEMI_SLOT = "bemi_test"
    file = tmp_path / "heard"
    file.touch()
    monkeypatch.setenv("BEMI_TEST_HEARD", str(file))
    listeners = Listeners(file)
    assert listeners.until_end("--handlers") == 0
    yield listeners
    Pipeline.of_project("bemi_test").release()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM _bemi.handlers")


def write(*names: str) -> None:
    for name in names:
        Category.objects.create(name=name)


def test_a_change_comes_again_when_the_process_dies_before_it_is_noted(
    listeners: Listeners, drain: Drain
) -> None:
    write("a", "dies once", "b")
    drain()
    assert listeners.until_end("--handlers") == -signal.SIGKILL
    assert listeners.heard[-1] == "dies once"
    assert listeners.until_end("--handlers") == 0
    # The first batch of a process is one change at a time: what was done is not done again.
    assert listeners.heard == ["a", "dies once", "dies once", "b"]


def test_a_change_that_kills_the_process_again_and_again_is_kept_aside(
    listeners: Listeners, drain: Drain
) -> None:
    write("a", "dies", "b")
    drain()
    for _ in range(3):
        assert listeners.until_end("--handlers") == -signal.SIGKILL
    assert listeners.until_end("--handlers") == 0
    assert listeners.heard == ["a", "dies", "dies", "dies", "b"]
    assert Undelivered.objects.get().reason.startswith("the process ended")


def test_two_processes_hand_over_each_change_once(listeners: Listeners, drain: Drain) -> None:
    names = [f"number {number:03}" for number in range(400)]
    with listeners.start("--handlers"), listeners.start("--handlers"):
        for part in range(0, 400, 100):
            Category.objects.bulk_create([Category(name=name) for name in names[part : part + 100]])
            drain()
        until(lambda: len(listeners.heard) >= 400)
        # What is killed before it has noted what it handed over, hands it over again.
        is_noted = "SELECT last = (SELECT id FROM changes ORDER BY id DESC LIMIT 1) FROM _bemi.handlers"
        until(lambda: execute(is_noted) == [(True,)])
    assert listeners.heard == names


def test_another_process_takes_over_from_one_that_was_killed(listeners: Listeners, drain: Drain) -> None:
    with listeners.start("--handlers") as first:
        write("a")
        drain()
        until(lambda: listeners.heard == ["a"])
        with listeners.start("--handlers"):
            first.kill()
            write("b")
            drain()
            until(lambda: "b" in listeners.heard)
    # The first process may have died before it noted that "a" is done.
    assert list(dict.fromkeys(listeners.heard)) == ["a", "b"]


@pytest.mark.administrator
def test_the_worker_calls_handlers_itself(listeners: Listeners) -> None:
    with listeners.start() as process:
        write("first")
        until(lambda: listeners.heard == ["first"])
        write("second")
        until(lambda: listeners.heard == ["first", "second"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0


@pytest.mark.administrator
def test_the_worker_leaves_handlers_alone_that_run_elsewhere(listeners: Listeners) -> None:
    write("a")
    assert listeners.until_end("--no-handlers") == 0
    assert listeners.heard == []
    assert listeners.until_end("--handlers") == 0
    assert listeners.heard == ["a"]


def test_a_stop_waits_for_the_change_at_hand(listeners: Listeners, drain: Drain) -> None:
    with listeners.start("--handlers") as process:
        write("is slow", "b", "c")
        drain()
        until(lambda: listeners.heard)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    listeners.until_end("--handlers")
    assert listeners.heard == ["is slow", "b", "c"]


def test_a_handler_that_hangs_is_left_in_the_middle(listeners: Listeners, drain: Drain) -> None:
    with listeners.start("--handlers") as process:
        write("sleeps")
        drain()
        until(lambda: listeners.heard)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        # The handler would return after an hour.
        assert process.wait(DEADLINE) == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT attempts FROM _bemi.handlers")
        assert cursor.fetchone() == (1,)
