"""How the server is to look for changes, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connections, transaction

from bemi_django.exceptions import is_away
from bemi_django.models import Change


class TimedOut(OperationalError):
    """The server gave the query up, as it does after the time limit."""


@contextmanager
def bitmap_scan_only(timeout: int) -> Iterator[None]:
    """Make queries use the indexes of their conditions instead of the order of ids.

    Args:
        timeout: Time limit of each query in milliseconds.

    Raises:
        TimedOut: A query takes longer.
    """
    with no_seqscan(enable_indexscan="off", statement_timeout=str(timeout)):
        yield


@contextmanager
def no_seqscan(**settings: str) -> Iterator[None]:
    """Open a transaction on the log in which no table is read from one end to the other.

    Args:
        settings: Further settings of the server, for the transaction.

    Raises:
        TimedOut: A query takes longer than ``statement_timeout``.
    """
    alias = Change.objects.db
    # Costs are of a table that is read as a whole then, for which the server would compile the query.
    settings = {"enable_seqscan": "off", "jit": "off", **settings}
    # One statement: several at once cannot be prepared, as psycopg does with prepare_threshold.
    change = f"SELECT {', '.join(['pg_catalog.set_config(%s, %s, true)'] * len(settings))}"
    try:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute(change, [part for setting in settings.items() for part in setting])
            yield
            # An enclosing transaction continues with its own settings.
            cursor.execute(change, [part for name in settings for part in (name, None)])
    except OperationalError as error:
        # A server that is away is something else than a slow answer.
        if is_away(error):
            raise
        raise TimedOut(*error.args) from error.__cause__
