"""The names under which the log and the servers know the databases of ``DATABASES``.

``NAME`` can be something else: an alias of PgBouncer, or empty with a connection service. So the server is
asked, once for each alias and its settings, and the log, which keeps the name that a database had.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django import destinations
from bemi_django.schema.replication.recorded_name import recorded_name

#: Seconds until a server that could not be reached is asked again by :func:`assumed_name`.
_RETRY_AFTER = 60.0

_SERVER = "SELECT (pg_catalog.pg_control_system()).system_identifier"

_IS_HERE = "SELECT pg_catalog.current_database()"

#: A command in a message that is about the database of a source, and does not say which.
_OF_SOURCE = re.compile(
    r"'manage\.py bemi (?:baseline|doctor|grants|run|skip|status|sync|verify)\b(?![^']*--database)[^']*(?=')"
)

_names: dict[str, tuple[Hashable, str]] = {}
_recorded: dict[str, tuple[Hashable, str]] = {}
_servers: dict[str, tuple[Hashable, str]] = {}
_unreachable_until: dict[str, float] = {}


def server_name(alias: str) -> str:
    """Return the name that the server has for the database of an alias.

    Raises:
        DatabaseError: The server cannot be reached.
    """
    return _known(_names, _identifying(connections[alias]), alias, lambda: _ask(connections[alias], _IS_HERE))


def database_name(alias: str) -> str:
    """Return the name that the log has for the database of an alias, or will have.

    Raises:
        DatabaseError: The server or the database of the log cannot be reached.
    """
    log, present = destinations.first(), server_name(alias)
    if connections[alias].vendor != "postgresql" or connections[log].vendor != "postgresql":
        return present
    settings = _identifying(connections[alias]), _identifying(connections[log])
    return _known(_recorded, settings, alias, lambda: _recorded_name(connections[alias], connections[log]))


def are_one_database(*aliases: str) -> bool:
    """Return whether aliases are of one database, which standbys of its server have as well.

    Raises:
        DatabaseError: A server cannot be reached.
    """
    return len({(_server(alias), server_name(alias)) for alias in aliases}) == 1


def assumed_name(alias: str) -> str:
    """Return the name of a database, or while that cannot be asked, the one that it seems to have.

    That is the one that its server has, if only the log is away, or else its ``NAME`` in ``DATABASES``.
    """
    if time.monotonic() >= _unreachable_until.get(alias, 0.0):
        try:
            return database_name(alias)
        except DatabaseError:
            _unreachable_until[alias] = time.monotonic() + _RETRY_AFTER
    settings, name = _names.get(alias, (None, ""))
    return name if settings == _identifying(connections[alias]) else configured_name(alias)


def configured_name(alias: str) -> str:
    """Return ``NAME`` in ``DATABASES``."""
    return str(connections[alias].settings_dict["NAME"] or "")


def database_option(alias: str) -> str:
    """Return the option with which a command is about a database, with a space before; none for the default.

    The command ``bemi`` knows no other, and has no such option.
    """
    return "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"


def about(alias: str, message: str) -> str:
    """Return a message with :func:`database_option` in the commands of it that are about a source.

    Args:
        alias: The source.
        message: A message with commands in single quotes.
    """
    option = database_option(alias)
    return _OF_SOURCE.sub(lambda found: found[0] + option, message) if option else message


def aliases_of(database: str) -> list[str]:
    """Return the PostgreSQL aliases in the order in which they are likely to have a database of this name."""
    aliases = [alias for alias in connections if connections[alias].vendor == "postgresql"]
    # A log may be in a database of the same name on another server.
    logs = destinations.aliases()
    return sorted(
        aliases, key=lambda alias: (configured_name(alias) != database, alias != "default", alias in logs)
    )


def _server(alias: str) -> str:
    connection = connections[alias]
    return _known(_servers, _identifying(connection), alias, lambda: _ask(connection, _SERVER))


def _known(
    answers: dict[str, tuple[Hashable, str]], settings: Hashable, alias: str, ask: Callable[[], str]
) -> str:
    known = answers.get(alias)
    if known is None or known[0] != settings:
        known = answers[alias] = settings, ask()
    return known[1]


def _identifying(connection: BaseDatabaseWrapper) -> Hashable:
    settings = connection.settings_dict
    options = repr(settings.get("OPTIONS"))
    return *(str(settings.get(name)) for name in ("ENGINE", "NAME", "HOST", "PORT", "USER")), options


def _ask(connection: BaseDatabaseWrapper, question: str) -> str:
    if connection.vendor != "postgresql":
        return configured_name(connection.alias)
    with _own_cursor(connection) as cursor:
        cursor.execute(question)
        return str(cursor.fetchone()[0])


def _recorded_name(source: BaseDatabaseWrapper, log: BaseDatabaseWrapper) -> str:
    with _own_cursor(source) as asked, _own_cursor(log) as cursor:
        return recorded_name(asked, cursor)


@contextmanager
def _own_cursor(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """Yield the driver's own cursor: what it is asked is none of the queries that the application makes."""
    with connection.wrap_database_errors:
        connection.ensure_connection()
        driver: Any = connection.connection
        with driver.cursor() as cursor:
            yield cursor
