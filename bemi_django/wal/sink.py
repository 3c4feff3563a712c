"""Where changes go: ``changes``, dead letters and the checkpoint, in one transaction of the destination."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg2

from bemi_django.wal import dead_letters, rows
from bemi_django.wal.checkpoint import Checkpoints
from bemi_django.wal.dead_letters import DeadLetter
from bemi_django.wal.stitcher import Stitched

_COPY = "COPY changes ({}) FROM STDIN (FORMAT binary)".format(", ".join(f'"{name}"' for name in rows.COLUMNS))
# Data exceptions, and limits of the program: it is the row, and will be the next time.
_OF_THE_ROW = ("22", "54")


class Pending(NamedTuple):
    """A row as COPY takes it, and what it was made of."""

    row: bytes
    change: Stitched
    message: bytes


#: Tells whether the destination takes a JSON text as jsonb.
Accepts = Callable[[bytes], bool]
#: Makes a row that the destination takes of one that it refused.
Repair = Callable[[Pending, Accepts], tuple[bytes, DeadLetter]]


class Sink:
    """Buffers rows and sends them by COPY, ``limit`` bytes at a time.

    Rows of the open transaction wait apart: those before it can be made durable at any moment. A
    transaction larger than ``limit`` is copied as it comes, after what came before it is durable.
    """

    def __init__(
        self,
        connection: Any,
        slot: str,
        checkpoint: int,
        repair: Repair,
        limit: int = 4 * 1024 * 1024,
    ) -> None:
        self._connection = connection
        self._slot = slot
        self._checkpoints = Checkpoints(connection, slot)
        self._repair = repair
        self._limit = limit
        self._open: list[Pending] = []
        self._open_size = 0
        self._ready: list[Pending] = []
        self._ready_size = 0
        self._open_letters: list[DeadLetter] = []
        self._ready_letters: list[DeadLetter] = []
        self._copied = 0
        self._end = checkpoint
        self._committed_at: int | None = None
        self._is_notable = False
        #: Every change committed at or below this LSN is durable.
        self.checkpoint = checkpoint

    def add(self, pending: Pending) -> None:
        """Take one row of the open transaction."""
        self._open.append(pending)
        self._open_size += len(pending.row)
        if self._open_size >= self._limit:
            self.flush()
            self._copy(self._open, self._open_letters)
            self._open, self._open_size = [], 0

    def add_letter(self, letter: DeadLetter) -> None:
        """Take a dead letter of the open transaction."""
        self._open_letters.append(letter)

    def end(self, lsn: int, committed_at: int, is_notable: bool = False) -> None:
        """The open transaction is complete; ``lsn`` is its end.

        One that has no rows is not worth a write of the checkpoint, unless it is ``is_notable``:
        where the log lives in the source, that write would be the next such transaction.
        """
        if self._open or self._copied or self._open_letters:
            self._committed_at = committed_at
            is_notable = True
        self._ready += self._open
        self._ready_size += self._open_size
        self._open, self._open_size = [], 0
        self._ready_letters += self._open_letters
        self._open_letters = []
        self._end = max(self._end, lsn)
        self._is_notable |= is_notable

    @property
    def has_pending(self) -> bool:
        """Whether complete transactions wait to be made durable."""
        return self._is_notable

    @property
    def is_full(self) -> bool:
        return self._ready_size >= self._limit

    def flush(self) -> int:
        """Make complete transactions durable together with the checkpoint; return how many rows.

        Raises Superseded when another worker has written in the meantime.
        """
        if not self._is_notable:
            return 0
        self._copy(self._ready, self._ready_letters)
        with self._connection.cursor() as cursor:
            dead_letters.insert(cursor, self._slot, self._ready_letters)
            self._checkpoints.advance(cursor, self.checkpoint, self._end, self._committed_at)
        self._connection.commit()
        self.checkpoint = self._end
        written = self._copied
        self._ready, self._ready_size, self._ready_letters, self._copied = [], 0, [], 0
        self._is_notable = False
        return written

    def _copy(self, batch: list[Pending], letters: list[DeadLetter]) -> None:
        if batch:
            with self._connection.cursor() as cursor:
                self._copy_or_repair(cursor, batch, letters)
            self._copied += len(batch)

    def _copy_or_repair(self, cursor: Any, batch: list[Pending], letters: list[DeadLetter]) -> None:
        """Copy a batch; one that is refused is halved until the row is found, which is repaired."""
        if _takes(cursor, lambda: copy_rows(cursor, [pending.row for pending in batch])):
            return
        if len(batch) > 1:
            middle = len(batch) // 2
            self._copy_or_repair(cursor, batch[:middle], letters)
            self._copy_or_repair(cursor, batch[middle:], letters)
            return
        row, letter = self._repair(batch[0], lambda json: _takes(cursor, lambda: _parse(cursor, json)))
        if not _takes(cursor, lambda: copy_rows(cursor, [row])):
            # Nothing of it but that it was.
            row, letter = self._repair(batch[0], lambda json: False)
            copy_rows(cursor, [row])
        letters.append(letter)


def _takes(cursor: Any, attempt: Callable[[], None]) -> bool:
    """Whether the attempt works; what it did is undone when it fails for its data."""
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


def copy_rows(cursor: Any, batch: list[bytes]) -> None:
    """Write rows to ``changes``. Raises psycopg2.Error for what is wrong with one of them."""
    cursor.copy_expert(_COPY, io.BytesIO(b"".join((rows.HEADER, *batch, rows.TRAILER))))


def _parse(cursor: Any, json: bytes) -> None:
    # As bytes: a text that is not UTF-8 must be refused by the server, not by the driver.
    cursor.execute("SELECT convert_from(%s, 'UTF8')::jsonb IS NULL", [psycopg2.Binary(json)])
