"""Extensions of the shared database: what a test brings goes with it, and what it takes away comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.project_database import execute

_COLUMNS = """
SELECT a.attrelid::regclass::text, quote_ident(a.attname)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE a.atttypid = to_regtype('public.' || %s) AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
"""


@contextmanager
def extensions(*names: str) -> Iterator[None]:
    """Have extensions in ``public``; those that were not there are dropped in the end."""
    new = [name for name in names if not _is_there(name)]
    for name in new:
        execute(f"CREATE EXTENSION {name} SCHEMA public")
    try:
        yield
    finally:
        for name in new:
            execute(f"DROP EXTENSION {name} CASCADE")


@contextmanager
def without_extension(name: str) -> Iterator[None]:
    """Take an extension, whose type has its name, away from the empty tables that use it."""
    columns = execute(_COLUMNS, [name])
    is_there = _is_there(name)
    for table, column in columns:
        execute(f"ALTER TABLE {table} ALTER {column} TYPE text USING NULL")
    execute(f"DROP EXTENSION IF EXISTS {name} CASCADE")
    try:
        yield
    finally:
        execute(f"DROP EXTENSION IF EXISTS {name} CASCADE")
        if is_there:
            execute(f"CREATE EXTENSION {name} SCHEMA public")
        for table, column in columns:
            execute(f"ALTER TABLE {table} ALTER {column} TYPE {name} USING NULL")


def _is_there(name: str) -> bool:
    return bool(execute("SELECT oid FROM pg_extension WHERE extname = %s", [name]))
