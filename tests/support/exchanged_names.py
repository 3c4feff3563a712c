# ruff: noqa: S608 - the SQL of tests
"""A table of the sample project whose columns are called as others were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from bemi_django.schema import tracking
from tests.support import roles
from tests.support.project_database import execute

EXCHANGE = (
    "ALTER TABLE todo RENAME task TO x; ALTER TABLE todo RENAME note TO task; "
    "ALTER TABLE todo RENAME x TO note"
)


def forget_names(table: str) -> None:
    """Begin anew what is known of the names of a table's columns: numbers are not given back."""
    with roles.administrator(str(connection.settings_dict["NAME"])) as cursor:
        cursor.execute("DELETE FROM _bemi.past WHERE name = %s", [table])
    tracking.sync()


@contextmanager
def called(table: str, column: str, otherwise: str) -> Iterator[None]:
    """Let a column have another name in the block; what is known of its names stays until it is forgotten."""
    execute(f"ALTER TABLE {table} RENAME {column} TO {otherwise}")
    try:
        yield
    finally:
        execute(f"ALTER TABLE {table} RENAME {otherwise} TO {column}")


@contextmanager
def todos_with_notes() -> Iterator[None]:
    """Give ``todo`` a column ``note``, which a test may let exchange its name with ``task`` once."""
    execute("ALTER TABLE todo ADD COLUMN note text NOT NULL DEFAULT 'n'")
    (number,) = execute(
        "SELECT attnum FROM pg_attribute WHERE attrelid = 'todo'::regclass AND attname = 'note'"
    )
    try:
        yield
    finally:
        (now,) = execute(
            f"SELECT attname FROM pg_attribute WHERE attrelid = 'todo'::regclass AND attnum = {number[0]}"
        )
        if now[0] == "task":
            execute(EXCHANGE)
        execute("ALTER TABLE todo DROP COLUMN note")
        forget_names("todo")
