"""The search path of a transaction, closed while we ask: others may create objects in its schemas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

_CLOSE = """
SELECT pg_catalog.current_schemas(false)::pg_catalog.text[],
       pg_catalog.set_config('search_path'::pg_catalog.text, 'pg_catalog, pg_temp'::pg_catalog.text, true)
"""
_GET = "SELECT pg_catalog.current_setting('search_path'::pg_catalog.text)"
_PUT = "SELECT pg_catalog.set_config('search_path'::pg_catalog.text, %s::pg_catalog.text, true)"


def close(cursor: Any) -> list[str]:
    """Close the path, and return the schemas that were in it."""
    cursor.execute(_CLOSE)
    schemas: list[str] = cursor.fetchone()[0]
    return schemas


def put(cursor: Any, path: str) -> None:
    """Set the path, given as PostgreSQL prints it, until the end of the transaction."""
    cursor.execute(_PUT, [path])


@contextmanager
def closed(cursor: Any) -> Iterator[None]:
    """Close the path in a block."""
    cursor.execute(_GET)
    (path,) = cursor.fetchone()
    close(cursor)
    yield
    # Releasing a savepoint would leave the path closed for the rest of the caller's transaction.
    put(cursor, path)


@contextmanager
def closed_cursor(alias: str) -> Iterator[Any]:
    """Yield a cursor in a transaction, with a closed path; names are printed with their schemas."""
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor, closed(cursor):
        yield cursor
