"""Read rows of a table by key, whatever values they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg2 import DataError, InternalError

from bemi_django.verification.table import table_queries
from bemi_django.verification.table.compared_table import ComparedTable


class LiveRow(NamedTuple):
    """A row of a table.

    Attributes:
        key: Its key.
        xmin: The lower 32 bits of the id of the transaction that wrote it.
        leaf: The oid of the partition that has it.
        image: The row as JSON text, if it was asked for.
        digest: A digest of the row; None if some values cannot be rendered.
        length: Characters of the row as JSON.
    """

    key: str
    xmin: int
    leaf: int
    image: str | None
    digest: bytes | None
    length: int


def read_rows(
    connection: Any, table: ComparedTable, keys: Sequence[str], *, is_whole: bool = False
) -> dict[str, LiveRow]:
    """Return the rows of a table that have one of some keys, by key.

    A value that JSON cannot hold is left out. A key that is not of the present type has no row.

    Args:
        connection: A connection to the source, in autocommit or in a transaction.
        table: The table.
        keys: The keys.
        is_whole: Whether to read the rows themselves, too.
    """
    return {row.key: row for row in _read(connection, table, list(keys), is_whole)} if keys else {}


def _read(connection: Any, table: ComparedTable, keys: list[str], is_whole: bool) -> Iterator[LiveRow]:
    query = table_queries.rows_with_keys(table, keys, is_whole=is_whole)
    rows = try_to_read(connection, query)
    if rows is not None:
        for key, xmin, leaf, image, digest, length in rows:
            yield LiveRow(key, xmin, leaf, image, bytes(digest), length)
    elif len(keys) > 1:
        middle = len(keys) // 2
        yield from _read(connection, table, keys[:middle], is_whole)
        yield from _read(connection, table, keys[middle:], is_whole)
    else:
        yield from _read_partly(connection, table, keys[0])


def _read_partly(connection: Any, table: ComparedTable, key: str) -> Iterator[LiveRow]:
    failing = [
        column
        for column in table.columns
        if try_to_read(connection, table_queries.column_of_row(table, key, column)) is None
    ]
    if len(failing) < len(table.columns):
        query = table_queries.row_without(table, key, failing)
        for name, xmin, leaf, image in try_to_read(connection, query) or []:
            yield LiveRow(name, xmin, leaf, image, None, len(image))


def try_to_read(connection: Any, query: Any) -> list[Any] | None:
    """Return the rows of a query, or None if a value cannot be rendered or is not of its type."""
    with connection.cursor() as cursor:
        is_open = connection.info.transaction_status != 0
        if is_open:
            cursor.execute("SAVEPOINT rows")
        try:
            cursor.execute(query)
            return list(cursor.fetchall())
        except (DataError, InternalError):
            # The second is what code of table owners raises.
            if is_open:
                cursor.execute("ROLLBACK TO SAVEPOINT rows")
            return None
