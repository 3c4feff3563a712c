"""COPY into the log, and attempts that leave the transaction usable when the data is refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg2

from bemi_django.ingest.destination.activity_counts import ActivityCounts
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.rows import copy_format, row_writer

_COPY = "COPY {} ({}) FROM STDIN (FORMAT binary)"
#: Bytes that are handed to libpq, which copies them, at a time.
_PIECE = 8 * 1024 * 1024
# Data exceptions and program limits: the row is at fault, and would be refused again.
_OF_THE_ROW = ("22", "54")


class RowCopier:
    """Writes rows to the log, and counts those that it takes."""

    def __init__(self) -> None:
        self._activity = ActivityCounts()

    def copy(self, cursor: Any, rows: Sequence[Pending]) -> None:
        """Write rows.

        Args:
            cursor: A cursor of the destination.
            rows: The rows, with the changes that they are made from.

        Raises:
            psycopg2.Error: The destination refuses a row, or cannot be reached.
        """
        copy_rows(cursor, [pending.row for pending in rows])
        self._activity.add(rows)

    def seal(self, cursor: Any) -> None:
        """Complete what was copied since the last call, at the end of the transaction."""
        self._activity.write(cursor)


class KeptRows(RowCopier):
    """Keeps rows that are not for the log.

    Args:
        rows: Where to keep them.
    """

    def __init__(self, rows: list[Pending]) -> None:
        super().__init__()
        self._rows = rows

    def copy(self, cursor: Any, rows: Sequence[Pending]) -> None:
        """Keep rows."""
        self._rows += rows


def copy_rows(cursor: Any, rows: list[bytes], columns: Iterable[str] = row_writer.COLUMNS) -> None:
    """Write rows to ``changes``.

    Args:
        cursor: A cursor of the destination.
        rows: Rows in the binary format of COPY, without its header and trailer.
        columns: The names of their columns.

    Raises:
        psycopg2.Error: The destination refuses a row, or cannot be reached.
    """
    data = b"".join((copy_format.HEADER, *rows, copy_format.TRAILER))
    # Usually in one piece: between two pieces the driver would wait for its turn to run Python.
    copy = _COPY.format(cursor.connection.log, ", ".join(f'"{name}"' for name in columns))
    cursor.copy_expert(copy, io.BytesIO(data), min(len(data), _PIECE))


def is_taken(cursor: Any, attempt: Callable[[], None]) -> bool:
    """Run the attempt in a savepoint, and undo it if the destination refuses its data.

    Returns:
        False if the data was refused.

    Raises:
        psycopg2.Error: The attempt failed for any other reason.
    """
    cursor.execute("SAVEPOINT attempt")
    try:
        attempt()
    except psycopg2.Error as error:
        if (error.pgcode or "")[:2] not in _OF_THE_ROW:
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT attempt")
        return False
    cursor.execute("RELEASE SAVEPOINT attempt")
    return True
