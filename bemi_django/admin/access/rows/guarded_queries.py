"""Queries that may fail without harm to the transaction of the request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import connections, transaction


@contextmanager
def guarded(alias: str) -> Iterator[None]:
    """Keep a query that fails from ending the transaction of the request, if there is one."""
    with ExitStack() as stack:
        if connections[alias].in_atomic_block:
            stack.enter_context(transaction.atomic(using=alias))
        yield
