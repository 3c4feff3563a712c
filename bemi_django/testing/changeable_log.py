"""The switch for tests of a project whose log is append-only."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from bemi_django import conf

_LET = "INSERT INTO _bemi.permits (purpose) VALUES (%s)"
_END = (
    "DELETE FROM _bemi.permits p WHERE p.xid IS NULL AND p.purpose OPERATOR(pg_catalog.=) %s::pg_catalog.text"
)


@contextmanager
def changeable_log() -> Iterator[None]:
    """Let everybody who may change the log do so, although ``BEMI_APPEND_ONLY`` is set.

    The flush of a ``TransactionTestCase`` truncates the log. Only the owner of the log, which is the role of
    the tests, may do this.
    """
    purpose = f"tests {uuid.uuid4()}"
    with connections[conf.destination()].cursor() as cursor:
        cursor.execute(_LET, [purpose])
    try:
        yield
    finally:
        with connections[conf.destination()].cursor() as cursor:
            cursor.execute(_END, [purpose])
