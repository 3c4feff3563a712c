"""Tasks in another thread, whose ends can be waited for."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from bemi_django.ingest.destination.background import Background
from tests.support.polling import DEADLINE


@pytest.fixture
def background() -> Iterator[Background[int]]:
    with closing(Background[int]()) as made:
        yield made


def is_readable(background: Background[int], seconds: float) -> bool:
    return bool(select.select([background], [], [], seconds)[0])


def test_the_end_of_a_task_wakes_who_waits_and_its_result_ends_that(background: Background[int]) -> None:
    may_end = threading.Event()
    background.start(lambda: 7 if may_end.wait(DEADLINE) else 0)
    assert not is_readable(background, 0)
    may_end.set()
    assert is_readable(background, DEADLINE)
    assert background.result() == 7
    assert not is_readable(background, 0)


def test_what_a_task_raises_comes_with_its_result_and_the_next_one_runs(background: Background[int]) -> None:
    background.start(lambda: 1 // 0)
    assert is_readable(background, DEADLINE)
    with pytest.raises(ZeroDivisionError):
        background.result()
    background.start(lambda: 8)
    assert background.result() == 8


def test_tasks_run_one_after_the_other_and_each_result_is_taken_in_turn(background: Background[int]) -> None:
    may_end = threading.Event()
    background.start(lambda: 7 if may_end.wait(DEADLINE) else 0)
    background.start(lambda: 8 if may_end.is_set() else 0)
    assert not is_readable(background, 0)
    may_end.set()
    assert background.result() == 7
    assert is_readable(background, DEADLINE)
    assert background.result() == 8
    assert not is_readable(background, 0)


def test_closing_waits_for_the_task_and_takes_no_notice_of_its_failure() -> None:
    done = threading.Event()
    background: Background[None] = Background()

    def fail() -> None:
        done.set()
        raise ValueError

    background.start(fail)
    background.close()
    assert done.is_set()
