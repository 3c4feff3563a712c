"""Read results of any size, and sorted ones side by side."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2

_FETCHED = 5000


@contextmanager
def snapshot(connection: Any) -> Iterator[Any]:
    """Yield a cursor in a transaction that sees one snapshot and writes nothing.

    Args:
        connection: A connection in autocommit.
    """
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield cursor
        finally:
            with suppress(psycopg2.Error):
                cursor.execute("ROLLBACK")


def stream(connection: Any, query: Any, parameters: Any = None) -> Generator[tuple[Any, ...], None, None]:
    """Yield the rows of a query by a cursor of the server, so that memory does not grow with them.

    Args:
        connection: A connection in a transaction.
        query: The query.
        parameters: Its parameters.
    """
    name = f"bemi_{uuid.uuid4().hex}"
    with connection.cursor() as cursor:
        text = query if isinstance(query, str) else query.as_string(connection)
        cursor.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {text}", parameters)
        while True:
            cursor.execute(f"FETCH {_FETCHED} FROM {name}")
            rows = cursor.fetchall()
            if not rows:
                return
            yield from rows


def merge(
    left: Iterator[tuple[Any, ...]], right: Iterator[tuple[Any, ...]]
) -> Iterator[tuple[str, Any, Any]]:
    """Pair two streams that are sorted by their first column.

    Yields:
        The first column, and the other columns of each stream, or None where only the other stream has it.
    """
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        key = min(row[0] for row in (one, two) if row is not None)
        in_one = one is not None and one[0] == key
        in_two = two is not None and two[0] == key
        yield key, one[1:] if in_one and one else None, two[1:] if in_two and two else None
        if in_one:
            one = next(left, None)
        if in_two:
            two = next(right, None)
