"""COPY into the log, and attempts that leave the transaction usable when the data is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import psycopg2

from bemi_django.ingest.rows import copy_format, row_writer

_COPY = "COPY {{}} ({}) FROM STDIN (FORMAT binary)".format(
    ", ".join(f'"{name}"' for name in row_writer.COLUMNS)
)
#: Bytes that are handed to libpq, which copies them, at a time.
_PIECE = 8 * 1024 * 1024
# Data exceptions and program limits: the row is at fault, and would be refused again.
_OF_THE_ROW = ("22", "54")


def copy_rows(cursor: Any, rows: list[bytes]) -> None:
    """Write rows to ``changes``.

    Args:
        cursor: A cursor of the destination.
        rows: Rows in the binary format of COPY, without its header and trailer.

    Raises:
        psycopg2.Error: The destination refuses a row, or cannot be reached.
    """
    data = b"".join((copy_format.HEADER, *rows, copy_format.TRAILER))
    # Usually in one piece: between two pieces the driver would wait for its turn to run Python.
    copy = _COPY.format(cursor.connection.log)
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
