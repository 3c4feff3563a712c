"""Open a session that prints rows as the log stores them (``ROW_SETTINGS``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

from bemi_django.log.lossless_json import loads
from bemi_django.wire import ROW_SETTINGS

_GET = "SELECT " + ", ".join(f"pg_catalog.current_setting('{name}')" for name in ROW_SETTINGS)
_SET = "SELECT " + ", ".join(f"pg_catalog.set_config('{name}', %s, true)" for name in ROW_SETTINGS)


@contextmanager
def row_session(alias: str, *, durable: bool = False) -> Iterator[Any]:
    """Yield a cursor whose session prints rows as the log does, and restore the settings afterwards.

    Args:
        alias: Alias of the database.
        durable: Whether the transaction must be the outermost one. Otherwise, inside ``atomic()``, it is a
            savepoint.
    """
    with transaction.atomic(using=alias, durable=durable), connections[alias].cursor() as cursor:
        cursor.execute(_GET)
        before = cursor.fetchone()
        cursor.execute(_SET, list(ROW_SETTINGS.values()))
        yield cursor
        # Releasing a savepoint would leave the settings in force for the rest of the caller's transaction.
        cursor.execute(_SET, before)


@contextmanager
def without_policies(cursor: Any) -> Iterator[None]:
    """Have the server refuse to read tables with row-level security in a block.

    Policies are code of those who own the tables, and would run with the rights of whoever reads them.

    Args:
        cursor: A cursor of :func:`row_session`, or in another transaction that ends if the block fails.
    """
    cursor.execute("SELECT pg_catalog.current_setting('row_security')")
    (before,) = cursor.fetchone()
    cursor.execute("SELECT pg_catalog.set_config('row_security', 'off', true)")
    yield
    cursor.execute("SELECT pg_catalog.set_config('row_security', %s, true)", [before])


def rows_of(cursor: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query whose last column is JSON text or NULL, with that column parsed."""
    return [(*row[:-1], row[-1] if row[-1] is None else loads(row[-1])) for row in cursor.fetchall()]
