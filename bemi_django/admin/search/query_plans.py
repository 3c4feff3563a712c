"""How the server is to look for changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction

from bemi_django.models import Change


@contextmanager
def bitmap_scan_only(timeout: int) -> Iterator[None]:
    """Make queries use the indexes of their conditions instead of the order of ids.

    Args:
        timeout: Time limit of each query in milliseconds.
    """
    with no_seqscan("SET LOCAL enable_indexscan = off", f"SET LOCAL statement_timeout = {timeout}"):
        yield


@contextmanager
def no_seqscan(*settings: str) -> Iterator[None]:
    """Open a transaction on the log in which no table is read from one end to the other.

    Args:
        settings: Further ``SET LOCAL`` statements.
    """
    alias = Change.objects.db
    # Costs are of a table that is read as a whole then, for which the server would compile the query.
    settings = ("SET LOCAL enable_seqscan = off", "SET LOCAL jit = off", *settings)
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("; ".join(settings))
        yield
        # An enclosing transaction continues with its own settings.
        cursor.execute("; ".join(f"{setting.partition(' =')[0]} TO DEFAULT" for setting in settings))
