"""What a watchdog takes for a sign of life, if the server can be asked at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE

from bemi_django.exceptions import Refused
from bemi_django.ingest.libpq import error_of
from bemi_django.ingest.stream.watchdog import Watchdog
from tests.support.polling import DEADLINE


class Waiting:
    """A connection that waits for an answer; shutting it down is refused."""

    closed = 0
    cursors = 1
    is_given_up = False
    info = SimpleNamespace(transaction_status=TRANSACTION_STATUS_ACTIVE)

    def fileno(self) -> int:
        raise psycopg2.InterfaceError


def watch(error: Exception) -> tuple[Waiting, list[None]]:
    asked: list[None] = []

    def connect() -> Any:
        asked.append(None)
        if len(asked) >= 3:
            watchdog.end()
        raise error

    connection: Any = Waiting()
    watchdog = Watchdog(connection, connect, 0.01)
    watchdog.start()
    watchdog.join(DEADLINE)
    assert not watchdog.is_alive()
    return connection, asked


@pytest.mark.parametrize(
    "error", [psycopg2.OperationalError("timeout expired"), KeyError("token")], ids=["no answer", "no token"]
)
def test_a_server_that_cannot_be_asked_is_given_up(error: Exception) -> None:
    connection, asked = watch(error)
    assert connection.is_given_up and len(asked) == 1


@pytest.mark.parametrize(
    "error",
    [
        error_of("53300", "sorry, too many clients already"),
        Refused('FATAL: password authentication failed for user "worker": correct USER'),
    ],
    ids=["too many connections", "refused"],
)
def test_a_server_that_refuses_a_connection_lives(error: Exception) -> None:
    connection, asked = watch(error)
    assert not connection.is_given_up and len(asked) == 3
