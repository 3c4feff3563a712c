"""A session in which rows are printed and read as the log has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

from bemi_django.log.lossless_json import loads
from bemi_django.wire import ROW_SETTINGS

_GET = "SELECT " + ", ".join(f"current_setting('{name}')" for name in ROW_SETTINGS)
_SET = "SELECT " + ", ".join(f"set_config('{name}', %s, true)" for name in ROW_SETTINGS)


@contextmanager
def row_session(alias: str, *, durable: bool = False) -> Iterator[Any]:
    """A cursor in a transaction, or in a savepoint of the caller's, with the settings of the log."""
    with transaction.atomic(using=alias, durable=durable), connections[alias].cursor() as cursor:
        cursor.execute(_GET)
        before = cursor.fetchone()
        cursor.execute(_SET, list(ROW_SETTINGS.values()))
        yield cursor
        # A savepoint that is released would leave them to the rest of the caller's transaction.
        cursor.execute(_SET, before)


def rows_of(cursor: Any) -> list[tuple[Any, ...]]:
    """The rows of a query whose last column is a row as JSON text, or NULL: that is read exactly."""
    return [(*row[:-1], row[-1] if row[-1] is None else loads(row[-1])) for row in cursor.fetchall()]
