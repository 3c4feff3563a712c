"""The sessions of a worker wait for as much as they must, and for no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection

from bemi_django.ingest.stream.connections import connect_destination, connect_source
from tests.support.pipeline import worker_config
from tests.support.project_database import execute

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["off", "local", "on", "remote_apply"])
def of_database(request: pytest.FixtureRequest) -> Iterator[str]:
    database = connection.settings_dict["NAME"]
    execute(f"ALTER DATABASE {database} SET synchronous_commit = {request.param}")
    yield request.param
    execute(f"ALTER DATABASE {database} RESET synchronous_commit")


def _synchronous_commit(session: object) -> str:
    with session.cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SHOW synchronous_commit")
        (found,) = cursor.fetchone()
    return str(found)


def test_what_is_confirmed_survives_a_crash_of_the_log(of_database: str) -> None:
    with closing(connect_destination(worker_config("bemi_sessions"))) as session:
        assert _synchronous_commit(session) == {"off": "local"}.get(of_database, of_database)


def test_the_source_waits_for_no_standby(of_database: str) -> None:
    with closing(connect_source(worker_config("bemi_sessions"))) as session:
        assert _synchronous_commit(session) == "local"


def test_the_log_is_written_as_utf_8_whatever_its_role_has() -> None:
    made = worker_config("bemi_sessions")
    odd = made._replace(destination={**made.destination, "client_encoding": "LATIN1"})
    with closing(connect_destination(odd)) as session:
        assert session.encoding == "UTF8"


@pytest.mark.parametrize("open_", [connect_source, connect_destination])
def test_the_server_notices_within_two_minutes_that_the_host_of_a_worker_has_vanished(open_: Any) -> None:
    with closing(open_(worker_config("bemi_sessions"))) as session, session.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('tcp_user_timeout'), current_setting('tcp_keepalives_idle')::int "
            "+ current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int"
        )
        assert cursor.fetchall() == [("60000", 60)]


@pytest.mark.parametrize("open_", [connect_source, connect_destination])
def test_a_server_that_accepts_and_says_nothing_is_not_waited_for(open_: Any) -> None:
    made = worker_config("bemi_sessions")
    patient = made._replace(
        source={**made.source, "connect_timeout": 60}, destination={**made.destination, "connect_timeout": 60}
    )
    for config, limit in ((made, "10"), (patient, "60")):
        with closing(open_(config)) as session:
            assert session.info.dsn_parameters["connect_timeout"] == limit


def test_no_timeout_of_the_database_ends_a_transaction_of_the_log_that_waits_for_its_rest() -> None:
    database = connection.settings_dict["NAME"]
    names = (
        "idle_in_transaction_session_timeout",
        "statement_timeout",
        "idle_session_timeout",
        "lock_timeout",
    )
    for name in names:
        execute(f"ALTER DATABASE {database} SET {name} = '1s'")
    try:
        config = worker_config("bemi_sessions")
        with closing(connect_destination(config)) as session, session.cursor() as cursor:
            found = []
            for name in names:
                cursor.execute(f"SHOW {name}")
                found += cursor.fetchone()
            # The sink gives a sign of life twice a minute. COPY takes as long as its rows take to come.
            assert found == ["5min", "0", "0", "10s"]
    finally:
        connection.close()
        for name in names:
            execute(f"ALTER DATABASE {database} RESET {name}")


def test_a_large_transaction_of_the_log_has_no_time_limit() -> None:
    with closing(connect_destination(worker_config("bemi_sessions"))) as session, session.cursor() as cursor:
        cursor.execute("SELECT setting FROM pg_settings WHERE name = 'transaction_timeout'")
        # PostgreSQL 17 has it.
        assert cursor.fetchall() in ([], [("0",)])
