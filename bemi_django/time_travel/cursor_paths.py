"""The search path where the backend of django-tenants sets it whenever a cursor is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from bemi_django.schema import tenancy

_SHUT = """
SELECT pg_catalog.set_config('search_path'::pg_catalog.text, 'pg_catalog, pg_temp'::pg_catalog.text, true)
"""
# Each schema of the path after that of its past. Every name is qualified, because any path may be in force.
_INTO_PAST = """
SELECT pg_catalog.set_config('search_path'::pg_catalog.text, (
    SELECT pg_catalog.string_agg(
        pg_catalog.concat_ws(', '::pg_catalog.text, pg_catalog.quote_ident(n.nspname::pg_catalog.text),
                             pg_catalog.quote_ident(schema.name::pg_catalog.text)),
        ', '::pg_catalog.text ORDER BY schema.number)
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY schema (name, number)
    LEFT JOIN pg_catalog.pg_namespace n
        ON n.nspname OPERATOR(pg_catalog.=) _bemi.past_schema_v1(schema.name::pg_catalog.text)
    WHERE NOT pg_catalog.starts_with(schema.name::pg_catalog.text, '_bemi_past_'::pg_catalog.text)
), true)
"""
# libpq's PQTRANS_INERROR.
_IN_ERROR = 3


def closed_for_cursors(connection: Any) -> AbstractContextManager[None]:
    """Close the path in a block again for each cursor, if the backend sets it for each."""
    return _set_for_cursors(connection, _SHUT)


def past_for_cursors(connection: Any) -> AbstractContextManager[None]:
    """Put the path into the past in a block again for each cursor, if the backend sets it for each.

    The tenant can be changed in the block: its past is seen.
    """
    return _set_for_cursors(connection, _INTO_PAST)


@contextmanager
def _set_for_cursors(connection: Any, statement: str) -> Iterator[None]:
    if not tenancy.has_tenants(connection.alias):
        yield
        return
    open_cursor = connection._cursor

    def opened(*args: Any, **kwargs: Any) -> Any:
        cursor = open_cursor(*args, **kwargs)
        driver = connection.connection
        # Not on this cursor: a named one executes one statement only. A failed transaction executes none.
        if driver.info.transaction_status != _IN_ERROR:
            with driver.cursor() as other:
                other.execute(statement)
        return cursor

    connection._cursor = opened
    try:
        yield
    finally:
        del connection._cursor
