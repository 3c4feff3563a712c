"""A message may fail for lack of resources of the source, until it is taken for the cause."""

from __future__ import annotations

from collections import Counter

import psycopg2
import pytest

from bemi_django.ingest.shortages import Shortages
from tests.unit.ingest.test_intake import sql_error

ROW, OTHER = b"I\0\0\0\7N", b"U\0\0\0\10N"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failures(shortages: Shortages, error: Exception, message: bytes = ROW, most: int = 10) -> int:
    """Return how many failures are passed on, of at most ``most``."""
    for number in range(most):
        try:
            shortages.raise_unless_of_message(error, message)
        except psycopg2.Error:
            continue
        return number
    return most


@pytest.mark.parametrize("state", ["53000", "53200", "53400"])
def test_the_fourth_failure_is_the_fault_of_the_message(state: str) -> None:
    counts: Counter[str] = Counter()
    shortages = Shortages(counts)
    assert failures(shortages, sql_error(state)) == 3
    assert counts == {"failures for lack of resources": 4}
    # So are those that follow, of any row of the table; another table has its own.
    assert failures(shortages, sql_error(state), ROW.replace(b"I", b"D")) == 0
    assert failures(shortages, sql_error(state), OTHER) == 3


@pytest.mark.parametrize("state", ["53100", "53300", "57P01", "08006"])
def test_an_error_of_the_server_is_never_the_fault_of_a_message(state: str) -> None:
    assert failures(Shortages(), sql_error(state)) == 10


def test_failures_of_long_ago_are_forgotten() -> None:
    clock = Clock()
    shortages = Shortages(clock=clock)
    assert failures(shortages, sql_error("53200"), most=2) == 2
    clock.now = 601.0
    assert failures(shortages, sql_error("53200")) == 3
