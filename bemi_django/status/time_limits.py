"""Time limits of the queries about the status, which monitors ask again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from django.db import DatabaseError, connections, transaction

from bemi_django import conf
from bemi_django.exceptions import sqlstate_of

# Whoever moves a month, or runs VACUUM FULL, locks the log for as long as they like.
_LIMIT = """
SELECT pg_catalog.set_config('lock_timeout'::pg_catalog.text, '3s'::pg_catalog.text, true),
       pg_catalog.set_config('statement_timeout'::pg_catalog.text, %s::pg_catalog.text, true)
"""
_HAS_LIMIT = """
SELECT pg_catalog.current_setting('statement_timeout'::pg_catalog.text) OPERATOR(pg_catalog.<>) '0'
"""
# A lock was not available; a statement took too long.
_GIVEN_UP = ("55P03", "57014")


def is_given_up(error: BaseException) -> bool:
    """Return whether a limit has ended a statement."""
    return sqlstate_of(error) in _GIVEN_UP


def has_statement_limit(using: str) -> bool:
    """Tell whether statements on a database are ended by ``statement_timeout``, and not only by somebody.

    The server says so in its own language, and with the same SQLSTATE.

    Args:
        using: Alias of the database.
    """
    with suppress(DatabaseError), connections[using].cursor() as cursor:
        cursor.execute(_HAS_LIMIT)
        return bool(cursor.fetchone()[0])
    return False


@contextmanager
def time_limits(source: str, statement: str = "20s") -> Iterator[None]:
    """Let statements on a source and on the log fail, in a block, that wait for a lock or take long.

    Args:
        source: Alias of the source.
        statement: How long a statement may take: a person waits longer than a monitor.
    """
    with ExitStack() as opened:
        for alias in dict.fromkeys((source, conf.destination())):
            if connections[alias].vendor != "postgresql":
                continue
            opened.enter_context(transaction.atomic(using=alias))
            with connections[alias].cursor() as cursor:
                cursor.execute(_LIMIT, [statement])
        yield
