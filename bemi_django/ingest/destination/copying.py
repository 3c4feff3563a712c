"""COPY into the log, and attempts that leave the transaction usable when the data is refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import psycopg2

from bemi_django.ingest.destination.activity_counts import ActivityCounts
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.rows import copy_format
from bemi_django.ingest.rows.large_rows import LARGE, pieces_of_row
from bemi_django.ingest.rows.row_writer import COLUMNS

_COPY = "COPY {} ({}) FROM STDIN (FORMAT binary)"
#: The column that a row may have beside those of its change.
CREATED_AT = "created_at"
# Data exceptions and program limits: the row is at fault, and would be refused again.
_OF_THE_ROW = ("22", "54")
#: The same, a value that lacks, and a row that is there, where rows are of others: who may publish can send a
#: change again as another one. That there is no partition is a failed check (23514), and no fault of the row.
OF_FOREIGN_ROWS = (*_OF_THE_ROW, "23502", "23505")


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


def copy_rows(cursor: Any, rows: list[bytes], created_at: bytes = b"") -> None:
    """Write rows to ``changes``.

    Args:
        cursor: A cursor of the destination.
        rows: The fields of each row in the binary format of COPY.
        created_at: The field of ``created_at`` of all rows; without it, it is the server's time.

    Raises:
        psycopg2.Error: The destination refuses a row, or cannot be reached.
    """
    if not rows:
        return
    columns = (*COLUMNS, CREATED_AT) if created_at else COLUMNS
    count = len(columns).to_bytes(2, "big")
    copy = _COPY.format(cursor.connection.log, ", ".join(f'"{name}"' for name in columns))
    head, tail = copy_format.HEADER + count, created_at + copy_format.TRAILER
    if max(map(len, rows)) > LARGE:
        parts = chain.from_iterable(chain((created_at + count,), pieces_of_row(row)) for row in rows[1:])
        cursor.copy_expert(copy, _Pieces(chain((head,), pieces_of_row(rows[0]), parts, (tail,))), LARGE)
        return
    # What is between two rows separates them here, so that no row has to be copied by itself.
    pieces = [head + rows[0], *rows[1:]]
    pieces[-1] += tail
    data = (created_at + count).join(pieces)
    # Usually in one piece: between two pieces the driver would wait for its turn to run Python.
    cursor.copy_expert(copy, io.BytesIO(data), len(data))


class _Pieces:
    """A file that reads parts one after another, without a copy of them all."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._files = map(io.BytesIO, parts)
        self._file = io.BytesIO()

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes of one part; none at the end of all."""
        while not (data := self._file.read(size)):
            file = next(self._files, None)
            if file is None:
                return b""
            self._file = file
        return data


def is_taken(cursor: Any, attempt: Callable[[], None], refusals: Sequence[str] = _OF_THE_ROW) -> bool:
    """Run the attempt in a savepoint, and undo it if the destination refuses its data.

    Args:
        cursor: A cursor of the destination.
        attempt: What to do.
        refusals: The SQLSTATE, or its beginning, of errors that are the fault of the data.

    Returns:
        False if the data was refused.

    Raises:
        psycopg2.Error: The attempt failed for any other reason.
    """
    cursor.execute("SAVEPOINT attempt")
    try:
        attempt()
    except psycopg2.Error as error:
        if not (error.pgcode or "").startswith(tuple(refusals)):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT attempt")
        return False
    cursor.execute("RELEASE SAVEPOINT attempt")
    return True
