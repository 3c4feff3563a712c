"""Open the connections of a worker: to the source, to its stream, and to the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import encodings

from bemi_django.encryption.key_ring import KeyRing
from bemi_django.encryption.project_keys import project_keys
from bemi_django.exceptions import NotInstalled, SinkUnavailable, first_line
from bemi_django.ingest import error_advice
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.libpq import error_of
from bemi_django.ingest.protocol import names
from bemi_django.ingest.refusal import PASSED, with_state
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.ingest.stream.watchdog import WatchedConnection
from bemi_django.schema import installed
from bemi_django.wire import ROW_SETTINGS

# Without other schemas in the path, no name in a statement of ours can mean an object of somebody else's.
_PATH = "pg_catalog,pg_temp"

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
    # Compiling the queries about the catalogs takes longer than they do.
    "jit": "off",
}
#: For a server that accepts connections and says nothing, unless the parameters have another limit.
_CONNECT_SECONDS = 10
_SESSION = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
#: The next worker must not wait for hours for one that vanished, or that stands still in the middle of a
#: transaction. These are not ``options`` because a pooler in front of the log would refuse them.
_LOG_SESSION = """
SET search_path = pg_catalog, pg_temp; SET jit = off; SET statement_timeout = 0;
SET lock_timeout = %s; SET idle_in_transaction_session_timeout = '5min'; SET idle_session_timeout = 0;
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 60000;
-- Since PostgreSQL 17: a large transaction would never come to its end.
SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout';
-- A crash must not take what the source has been told is durable. Stronger settings are kept.
SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'
"""

_ANY_BYTES = "SQL_ASCII"
# The administrator wants it so, or the provider of a server whose disk is nearly full.
_READ_ONLY_ROLE = """
SELECT session_user::text WHERE current_setting('default_transaction_read_only')::bool
"""
_READ_ONLY = (
    "transactions on the log are read-only (default_transaction_read_only): "
    "run ALTER ROLE {role} SET default_transaction_read_only = off, if its server has room"
)


class LogConnection(WatchedConnection):
    """A connection to the database of the log."""

    #: The name of the log's table with its schema, quoted for SQL.
    log = ""


def connect_source(config: WorkerConfig, answer_seconds: float | None = None) -> WatchedConnection:
    """Return a connection to the source, in autocommit.

    Args:
        config: The configuration of the worker.
        answer_seconds: How long a statement may take before the server is asked what it does; None for ever.
    """

    def ask() -> dict[str, Any]:
        parameters = _source_parameters(config, "UTF8")
        options = f"{parameters['options']} -c search_path={_PATH}"
        return {**parameters, "options": options, "connection_factory": WatchedConnection}

    connection: WatchedConnection = _connect(psycopg2.connect, ask)
    connection.autocommit = True
    try:
        if connection.get_parameter_status("server_encoding") == _ANY_BYTES:
            # Names need not be text, and the server would refuse to send those that are not.
            encodings.update(dict.fromkeys((_ANY_BYTES, _ANY_BYTES.replace("_", "")), names.CODEC))
            connection.set_client_encoding(_ANY_BYTES)
        if answer_seconds is not None:
            connection.watch(lambda: _connect(psycopg2.connect, ask), answer_seconds)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_tables(config: WorkerConfig) -> Any:
    """Return a connection to the source with the path of its role, to read tables or to evaluate code."""
    return _connect(psycopg2.connect, lambda: _source_parameters(config, "UTF8"))


def connect_calculator(config: WorkerConfig) -> Any:
    """Return the same as an asynchronous connection, which is not open yet."""
    return _connect(psycopg2.connect, lambda: {**_source_parameters(config, "UTF8"), "async_": 1})


def connect_stream(config: WorkerConfig, server_encoding: str, silence: float) -> SlotSource:
    """Open a replication connection to the source.

    Args:
        config: The configuration of the worker.
        server_encoding: The encoding of the source's database.
        silence: Seconds after which either side gives the other up.
    """
    # SQL_ASCII holds any bytes. It is not converted, or the server would stop at those that are not text.
    encoding = _ANY_BYTES if server_encoding == _ANY_BYTES else "UTF8"
    source: SlotSource = _connect(
        lambda **given: SlotSource(given, silence),
        lambda: _source_parameters(config, encoding),
        replication="database",
    )
    return source


def connect_destination(
    config: WorkerConfig, lock_seconds: float = 10.0, answer_seconds: float | None = None
) -> LogConnection:
    """Return a connection to the database of the log.

    Args:
        config: The configuration of the worker.
        lock_seconds: How long a statement waits for a lock.
        answer_seconds: How long a statement may take before the server is asked what it does; None for ever.

    Raises:
        NotInstalled: The database has no log.
        SinkUnavailable: Its transactions are read-only, by default.
    """
    # The rows for COPY are UTF-8.
    fixed = {"client_encoding": "UTF8", "connection_factory": LogConnection}

    def connect() -> LogConnection:
        connection: LogConnection = _connect(psycopg2.connect, lambda: {**config.addresses()[1], **fixed})
        return connection

    connection = connect()
    try:
        if answer_seconds is not None:
            connection.watch(connect, answer_seconds)
        with connection, connection.cursor() as cursor:
            cursor.execute(_LOG_SESSION, [int(lock_seconds * 1000)])
            connection.log = installed.log_of(cursor)
            cursor.execute(_READ_ONLY_ROLE)
            if found := cursor.fetchone():
                raise SinkUnavailable(_READ_ONLY.format(role=error_advice.quoted(found[0])))
    except NotInstalled:
        connection.close()
        message = "the destination has no log: run 'manage.py migrate' there (--database)"
        raise NotInstalled(message) from None
    except BaseException:
        connection.close()
        raise
    return connection


def connect_keys(
    config: WorkerConfig, lock_seconds: float = 10.0, answer_seconds: float | None = None
) -> KeyRing:
    """Return what finds the keys of subjects; it connects to the database of the log when it is needed.

    Args:
        config: The configuration of the worker.
        lock_seconds: As :func:`connect_destination` takes it.
        answer_seconds: Likewise.
    """

    def connect() -> LogConnection:
        connection = connect_destination(config, lock_seconds, answer_seconds)
        connection.autocommit = True
        return connection

    return KeyRing(connect, lambda: project_keys(config.masking.encryption_keys, config.masking.key_store))


def system_identifier(connection: Any) -> str:
    """Return the identifier of the server of a connection, which is in no transaction."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT (pg_control_system()).system_identifier::text")
        return str(cursor.fetchone()[0])


def is_database(connection: Any, identifier: str, name: str) -> bool:
    """Return whether a connection, which is in no transaction, is to this database, by whatever address.

    Args:
        connection: The connection.
        identifier: The identifier of the database's server.
        name: The name of the database.
    """
    if system_identifier(connection) != identifier:
        return False
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return bool(cursor.fetchone()[0] == name)


def _source_parameters(config: WorkerConfig, encoding: str) -> dict[str, Any]:
    source, _ = config.addresses()
    options = f"{source.get('options', '')} {_SESSION}".strip()
    return {**source, "options": options, "client_encoding": encoding}


def _connect(connect: Callable[..., Any], ask: Callable[[], dict[str, Any]], **kind: str) -> Any:
    parameters = ask()
    try:
        return connect(**{"connect_timeout": _CONNECT_SECONDS, **parameters})
    except (psycopg2.Error, UnicodeDecodeError) as error:
        found = with_state(error, {**parameters, **kind})
        refused = error_advice.of_connection(found, {**parameters, **kind})
        # A token that has just been renewed: trying again with the new one helps.
        if refused is None or ask() != parameters:
            # By some SQLSTATEs alone, trying again would not help.
            raise error_of(PASSED, first_line(found)) if error_advice.is_lasting(found) else found from error
        raise refused from error
