"""Open the connections of a worker: to the source, to its stream, and to the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2

from bemi_django.ingest import error_advice
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stream.source import Source
from bemi_django.wire import ROW_SETTINGS

#: The server notices within a minute that the host of a worker has vanished.
_KEEPALIVES = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_SETTINGS = {
    **ROW_SETTINGS,
    **_KEEPALIVES,
    # The marks of the worker are flushed, and so sent, at once; no standby has to have them.
    "synchronous_commit": "local",
    # Making a slot waits for running transactions to end, and the session may be idle for long.
    "statement_timeout": "0",
    "idle_session_timeout": "0",
}
_SESSION = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
#: The next worker must not wait for hours for one that vanished, or that stands still in the middle of a
#: transaction. These are not ``options`` because a pooler in front of the log would refuse them.
_LOG_SESSION = """
SET lock_timeout = %s; SET idle_in_transaction_session_timeout = '5min'; SET idle_session_timeout = 0;
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 60000;
-- Since PostgreSQL 17: a large transaction would never come to its end.
SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout';
-- A crash must not take what the source has been told is durable. Stronger settings are kept.
SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'
"""


def connect_source(config: WorkerConfig) -> Any:
    """Return a connection to the source, in autocommit."""
    connection = _connect(psycopg2.connect, _source_parameters(config, "UTF8"))
    connection.autocommit = True
    return connection


def connect_stream(config: WorkerConfig, server_encoding: str, silence: float) -> Source:
    """Open a replication connection to the source.

    Args:
        config: The configuration of the worker.
        server_encoding: The encoding of the source's database.
        silence: Seconds after which either side gives the other up.
    """
    # SQL_ASCII holds any bytes. It is not converted, or the server would stop at those that are not text.
    encoding = "SQL_ASCII" if server_encoding == "SQL_ASCII" else "UTF8"
    parameters = _source_parameters(config, encoding)
    source: Source = _connect(lambda **given: Source(given, silence), parameters)
    return source


def connect_destination(config: WorkerConfig, lock_seconds: float = 10.0) -> Any:
    """Return a connection to the database of the log, where a statement waits ``lock_seconds`` for a lock."""
    # The rows for COPY are UTF-8.
    connection = _connect(psycopg2.connect, {**config.destination, "client_encoding": "UTF8"})
    with connection, connection.cursor() as cursor:
        cursor.execute(_LOG_SESSION, [int(lock_seconds * 1000)])
    return connection


def _source_parameters(config: WorkerConfig, encoding: str) -> dict[str, Any]:
    options = f"{config.source.get('options', '')} {_SESSION}".strip()
    return {**config.source, "options": options, "client_encoding": encoding}


def _connect(connect: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    try:
        return connect(**parameters)
    except psycopg2.Error as error:
        if (refused := error_advice.of_connection(error, parameters)) is None:
            raise
        raise refused from error
