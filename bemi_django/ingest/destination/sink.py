"""Where changes go: ``changes``, dead letters and the checkpoint, in one transaction of the destination."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg2

from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.background import Background
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.rows import copy_format, row_writer
from bemi_django.ingest.rows.stitcher import ChangeHeader, Stitched

_COPY = "COPY changes ({}) FROM STDIN (FORMAT binary)".format(
    ", ".join(f'"{name}"' for name in row_writer.COLUMNS)
)
# Data exceptions, and limits of the program: it is the row, and will be the next time.
_OF_THE_ROW = ("22", "54")
#: Batches on their way: one is written, and the next is at hand when it is.
_IN_FLIGHT = 2


class Pending(NamedTuple):
    """A row as COPY takes it, and what it was made of."""

    row: bytes
    change: Stitched | ChangeHeader
    message: bytes


#: Tells whether the destination takes a JSON text as jsonb.
Accepts = Callable[[bytes], bool]
#: Makes a row that the destination takes of one that it refused.
Repair = Callable[[Pending, Accepts], tuple[bytes, RejectedMessage]]


class Batch(NamedTuple):
    """Rows and letters that go together, after the checkpoint ``begin``; ``end`` is the one after them.

    Within a transaction ``end`` is None.
    """

    rows: list[Pending]
    letters: list[RejectedMessage]
    begin: int
    end: int | None = None
    committed_at: int | None = None
    transactions: Sequence[int] = ()


class Sink:
    """Buffers rows and sends them by COPY, ``limit`` bytes at a time, while the next ones are read.

    Rows of the open transaction wait apart: those before it can be made durable at any moment. A
    transaction larger than ``limit`` is copied as it comes, after what came before it.
    """

    def __init__(
        self,
        connection: Any,
        slot: str,
        checkpoint: int,
        repair: Repair,
        limit: int = 2 * 1024 * 1024,
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
        self._open_letters: list[RejectedMessage] = []
        self._ready_letters: list[RejectedMessage] = []
        self._ready_transactions: list[int] = []
        self._is_partly_sent = False
        self._end = checkpoint
        self._committed_at: int | None = None
        self._is_notable = False
        self._sent: deque[Batch] = deque()
        self._sent_end = checkpoint
        #: Whether a batch was not taken as it is: those behind it must not be written before it.
        self._is_held = False
        self._copied = 0
        self._background: Background[bool] = Background()
        self.fileno = self._background.fileno
        #: Every change committed at or below this LSN is durable.
        self.checkpoint = checkpoint
        #: Rows that are durable.
        self.written = 0

    def add(self, pending: Pending) -> None:
        """Take one row of the open transaction."""
        self._open.append(pending)
        self._open_size += len(pending.row)
        if self._open_size >= self._limit:
            self.send()
            self._send(Batch(self._open, self._open_letters, self._sent_end))
            self._open, self._open_size, self._open_letters = [], 0, []
            self._is_partly_sent = True

    def add_letter(self, letter: RejectedMessage) -> None:
        """Take a dead letter of the open transaction."""
        self._open_letters.append(letter)

    def end(self, lsn: int, committed_at: int, transaction: int = 0, is_notable: bool = False) -> None:
        """The open ``transaction`` is complete; ``lsn`` is its end.

        One that has no rows is not worth a write of the checkpoint, unless it is ``is_notable``:
        where the log lives in the source, that write would be the next such transaction.
        """
        if self._open or self._is_partly_sent or self._open_letters:
            self._committed_at = committed_at
            self._ready_transactions.append(transaction)
            is_notable = True
        self._ready += self._open
        self._ready_size += self._open_size
        self._open, self._open_size = [], 0
        self._ready_letters += self._open_letters
        self._open_letters = []
        self._is_partly_sent = False
        self._end = max(self._end, lsn)
        self._is_notable |= is_notable

    @property
    def has_pending(self) -> bool:
        """Whether complete transactions wait to be sent."""
        return self._is_notable

    @property
    def is_full(self) -> bool:
        return self._ready_size >= self._limit

    @property
    def in_flight(self) -> int:
        """Batches on their way; ``fileno()`` is readable when the first of them has come to its end."""
        return len(self._sent)

    def send(self) -> None:
        """Begin to make complete transactions durable together with the checkpoint, after the batches before.

        Raises what :meth:`settle` does.
        """
        if self._is_notable:
            transactions, self._ready_transactions = self._ready_transactions, []
            batch = Batch(
                self._ready, self._ready_letters, self._sent_end, self._end, self._committed_at, transactions
            )
            self._sent_end = self._end
            self._send(batch)
            self._ready, self._ready_size, self._ready_letters = [], 0, []
            self._is_notable = False

    def settle(self, in_flight: int = 0) -> None:
        """Wait until no more batches than that are on their way; mend what the destination refuses.

        Raises Superseded when another worker has written in the meantime.
        """
        while len(self._sent) > in_flight:
            batch = self._sent.popleft()
            try:
                if not self._background.result():
                    # Those behind it wait for it.
                    in_flight = 0
                    # In this thread: what it takes to repair a row belongs to it.
                    with self._connection.cursor() as cursor:
                        self._copy_or_repair(cursor, batch.rows, batch.letters)
                        self._complete(cursor, batch)
            except BaseException:
                # What is behind it is not written.
                self._sent.clear()
                raise
            self._note(batch)
            if not self._sent:
                self._is_held = False

    def close(self) -> None:
        """Wait for the batches on their way, whatever comes of them."""
        self._background.close()

    def _note(self, batch: Batch) -> None:
        self._copied += len(batch.rows)
        if batch.end is not None:
            self.checkpoint = batch.end
            self.written += self._copied
            self._copied = 0

    def _send(self, batch: Batch) -> None:
        self.settle(_IN_FLIGHT - 1)
        self._sent.append(batch)
        self._background.start(lambda: self._try(batch))

    def _try(self, batch: Batch) -> bool:
        """Whether the destination takes the batch as it is."""
        if self._is_held:
            return False
        self._is_held = True
        with self._connection.cursor() as cursor:
            is_taken = not batch.rows or _takes(cursor, lambda: _copy(cursor, batch.rows))
            if is_taken:
                self._complete(cursor, batch)
        self._is_held = not is_taken
        return is_taken

    def _complete(self, cursor: Any, batch: Batch) -> None:
        dead_letters.insert(cursor, self._slot, batch.letters)
        if batch.end is not None:
            self._checkpoints.advance(cursor, batch.begin, batch.end, batch.committed_at, batch.transactions)
            self._connection.commit()

    def _copy_or_repair(self, cursor: Any, batch: list[Pending], letters: list[RejectedMessage]) -> None:
        """Copy a batch; one that is refused is halved until the row is found, which is repaired."""
        if _takes(cursor, lambda: _copy(cursor, batch)):
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


def _copy(cursor: Any, batch: list[Pending]) -> None:
    copy_rows(cursor, [pending.row for pending in batch])


def copy_rows(cursor: Any, batch: list[bytes]) -> None:
    """Write rows to ``changes``. Raises psycopg2.Error for what is wrong with one of them."""
    data = b"".join((copy_format.HEADER, *batch, copy_format.TRAILER))
    # In one piece: between two of them the driver would wait for its turn to run Python.
    cursor.copy_expert(_COPY, io.BytesIO(data), len(data))


def _parse(cursor: Any, json: bytes) -> None:
    # As bytes: a text that is not UTF-8 must be refused by the server, not by the driver.
    cursor.execute("SELECT convert_from(%s, 'UTF8')::jsonb IS NULL", [psycopg2.Binary(json)])
