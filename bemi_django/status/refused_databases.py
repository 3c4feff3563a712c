"""Databases that refuse connections, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.exceptions import BemiError, first_line, sqlstate_of
from bemi_django.ingest.error_advice import of_connection, told
from bemi_django.ingest.refusal import PASSED, with_state


def explained(error: Exception, aliases: Iterable[str]) -> str:
    """Return what a database error says, in a line, and what to do about it.

    Args:
        error: An error that Django or a driver has raised.
        aliases: The databases, one of which may have refused the connection.
    """
    if sqlstate_of(error) or isinstance(error, (BemiError, ImproperlyConfigured)):
        return told(error)
    databases = filter(lambda alias: connections[alias].vendor == "postgresql", aliases)
    # What a server says of a log-in names the role.
    for parameters in sorted(
        map(conf.connection_parameters, databases), key=lambda each: str(each.get("user")) not in str(error)
    ):
        found = with_state(error, parameters)
        if sqlstate_of(found) not in ("", PASSED):
            return first_line(of_connection(found, parameters) or DatabaseError(told(found)))
    return told(error)
