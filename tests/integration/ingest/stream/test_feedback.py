"""Whenever the server asks, and whenever it goes, the slot is never ahead of the log.

``BEMI_QUESTIONS`` is how often it asks, and ``BEMI_SHUTDOWN_QUESTIONS`` how often where one question in ten
comes before a shutdown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from tests.support.asking_proxy import AskingProxy
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import QUICK

QUESTIONS = int(os.environ.get("BEMI_QUESTIONS", "10_000"))
SHUTDOWN_QUESTIONS = int(os.environ.get("BEMI_SHUTDOWN_QUESTIONS", "500"))


class Watch:
    """Compares each position that a client tells with the checkpoint that the log has then."""

    def __init__(self, log: Any, slot: str) -> None:
        self._log, self._slot = log, slot
        self.told: list[int] = []
        self.ahead: list[tuple[int, int]] = []

    def __call__(self, flushed: int) -> None:
        with self._log.cursor() as cursor:
            cursor.execute("SELECT lsn - '0/0' FROM _bemi.checkpoint WHERE slot = %s", [self._slot])
            checkpoint = int(cursor.fetchone()[0])
        self.told.append(flushed)
        if flushed > checkpoint:
            self.ahead.append((flushed, checkpoint))


@pytest.fixture
def watch(trail: LoadPipeline) -> Iterator[Watch]:
    with closing(psycopg2.connect(**trail.log.parameters)) as log:
        log.autocommit = True
        yield Watch(log, trail.slot)


def write_until_asked(trail: LoadPipeline, proxy: AskingProxy, questions: int, running: Future[int]) -> None:
    while proxy.asked < questions and not running.done():
        # The server describes the table again.
        trail.source.run("ALTER TABLE load SET (fillfactor = 90)")
        trail.write(50)
        trail.source.run("INSERT INTO junk SELECT 'x' FROM generate_series(1, 100)")


def test_an_answer_to_any_question_is_what_the_log_has(trail: LoadPipeline, watch: Watch) -> None:
    with closing(AskingProxy(trail.source.server.port, watch)) as proxy:
        config = trail.config._replace(source={**trail.config.source, "port": proxy.port})
        with trail.worker(config=config) as running:
            write_until_asked(trail, proxy, QUESTIONS, running)
            trail.catch_up()
    assert watch.ahead == []
    # Every question was answered.
    assert len(watch.told) >= QUESTIONS
    trail.run()
    trail.check()
    assert trail.gaps() == []


def test_a_shutdown_behind_any_message_leaves_the_slot_behind_the_log(
    trail: LoadPipeline, watch: Watch
) -> None:
    with closing(AskingProxy(trail.source.server.port, watch, shutdown=0.1)) as proxy:
        config = trail.config._replace(source={**trail.config.source, "port": proxy.port})
        with trail.worker(QUICK._replace(first_pause=0.001, longest_pause=0.01), config) as running:
            write_until_asked(trail, proxy, SHUTDOWN_QUESTIONS, running)
            proxy.shutdown = 0.0
            trail.catch_up()
    assert proxy.shutdowns > SHUTDOWN_QUESTIONS // 20
    assert watch.ahead == []
    assert trail.confirmed() <= trail.checkpoint()
    trail.run()
    trail.check()
    assert trail.gaps() == []
