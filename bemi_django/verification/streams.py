"""Read sorted results of any size side by side."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

import psycopg2

_FETCHED = 5000


def stream(connection: Any, query: Any, parameters: Any = None) -> Generator[tuple[Any, ...], None, None]:
    """Yield the rows of a query by a cursor of the server, so that memory does not grow with them."""
    cursor = connection.cursor(name=f"bemi_{uuid.uuid4().hex}")
    try:
        cursor.itersize = _FETCHED
        cursor.execute(query, parameters)
        yield from cursor
    finally:
        # In a transaction that has failed the server has closed it already.
        with suppress(psycopg2.Error):
            cursor.close()


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
