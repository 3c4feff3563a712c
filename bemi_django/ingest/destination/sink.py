"""Write changes, dead letters and the checkpoint in one transaction of the destination."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from bemi_django.ingest.destination.background import Background
from bemi_django.ingest.destination.batch import Batch, Gathered, Pending
from bemi_django.ingest.destination.batch_writer import BatchWriter, Repair
from bemi_django.ingest.destination.copying import RowCopier
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.wire.defaults import LARGEST_DEAD_LETTER

#: Batches on their way: one is being written, and the next is at hand when it is done.
_IN_FLIGHT = 2
#: Seconds between two signs of life in a transaction: less than idle_in_transaction_session_timeout.
_TOUCH = 30.0


class PostgresSink:
    """Gather rows and send them by COPY, ``limit`` bytes at a time, while the next ones are read.

    The rows of the open transaction are kept apart, because those before it may be made durable at any
    moment. A transaction larger than ``limit`` is copied as it comes, after what came before it.

    Args:
        connection: A connection to the destination.
        slot: The name of the slot.
        checkpoint: Where the log ends.
        repair: Repairs a row that the destination refuses.
        limit: Bytes of a batch.
        largest_letter: Bytes of the largest message that is kept whole as a dead letter.
        counts: What is kept with the checkpoint.
        while_waiting: Called again and again while the destination is waited for; it must not fail.
        omissions: What was left out of the open transaction; it is emptied when the transaction ends.
        copier: Writes the rows.
    """

    def __init__(
        self,
        connection: Any,
        slot: str,
        checkpoint: int,
        repair: Repair,
        limit: int = 2 * 1024 * 1024,
        largest_letter: int = LARGEST_DEAD_LETTER,
        counts: Mapping[str, int] | None = None,
        while_waiting: Callable[[], object] = lambda: None,
        omissions: Omissions | None = None,
        copier: RowCopier | None = None,
    ) -> None:
        self._writer = BatchWriter(connection, slot, repair, largest_letter, counts, copier)
        self._limit = limit
        self._largest_letter = largest_letter
        self._open = Gathered()
        self._ready = Gathered()
        self._ready_transactions: list[int] = []
        self._omissions = Omissions() if omissions is None else omissions
        self._ready_omissions = Omissions()
        self._is_partly_sent = False
        self._end = checkpoint
        self._committed_at: int | None = None
        self._sent: deque[Batch] = deque()
        self._sent_end = checkpoint
        self._copied = self._letters = 0
        self._touch_at = 0.0
        self._background: Background[bool] = Background(while_waiting)
        self.fileno = self._background.fileno
        #: Whether complete transactions wait to be sent.
        self.has_pending = False
        #: Every change committed at or below this LSN is durable.
        self.checkpoint = checkpoint
        #: The commit time of the last durable change, in microseconds since 2000-01-01 UTC; 0 before one.
        self.committed_at = 0
        #: The numbers of durable rows and dead letters.
        self.written = self.kept = 0

    def add(self, pending: Pending) -> None:
        """Take one row of the open transaction."""
        gathered = self._open
        gathered.rows.append(pending)
        row, _, message = pending
        size, held = len(row), len(message)
        # The message is held as well, and is larger where columns are ignored or masked.
        gathered.size += size if size > held else held
        if gathered.size >= self._limit:
            self._send_open()

    def add_letter(self, letter: RejectedMessage) -> None:
        """Take a dead letter of the open transaction."""
        gathered = self._open
        kept = letter.limited(self._largest_letter)
        gathered.letters.append(kept)
        gathered.size += len(kept.message)
        if gathered.size >= self._limit:
            self._send_open()

    def end(self, lsn: int, committed_at: int, transaction: int = 0, is_notable: bool = False) -> None:
        """Complete the open transaction.

        Args:
            lsn: Its end; the checkpoint will move there.
            committed_at: Its commit time, in microseconds since 2000-01-01 UTC.
            transaction: Its 64-bit id.
            is_notable: Write the checkpoint even if the transaction has no rows. Otherwise it is not worth a
                write: where the log lives in the source, that write would be the next such transaction.
        """
        if self._open or self._is_partly_sent:
            self._committed_at = committed_at
            self._ready_transactions.append(transaction)
            is_notable = True
        self._ready.take_over(self._open)
        self._ready_omissions.take_over(self._omissions)
        self._is_partly_sent = False
        self._end = max(self._end, lsn)
        self.has_pending |= is_notable

    @property
    def is_full(self) -> bool:
        """Whether the complete transactions should be sent now."""
        return self._ready.size >= self._limit

    @property
    def in_flight(self) -> int:
        """The number of batches on their way; ``fileno()`` is readable when the first of them is done."""
        return len(self._sent)

    def send(self) -> None:
        """Begin to make complete transactions durable, with the checkpoint, after the batches before.

        Raises:
            Superseded, psycopg2.Error: As :meth:`settle`.
        """
        if self.has_pending:
            ready, self._ready = self._ready, Gathered()
            transactions, self._ready_transactions = self._ready_transactions, []
            begin, self._sent_end = self._sent_end, self._end
            omissions, self._ready_omissions = self._ready_omissions, Omissions()
            self.has_pending = False
            self._send(
                Batch(
                    ready.rows, ready.letters, begin, self._end, self._committed_at, transactions, omissions
                )
            )

    def finish(self) -> None:
        """Begin to make durable what waits for more: nothing does."""

    def settle(self, in_flight: int = 0) -> None:
        """Wait until at most ``in_flight`` batches are on their way; repair what the destination refuses.

        Raises:
            Superseded: Another worker has moved the checkpoint.
            psycopg2.Error: The destination cannot be written to.
        """
        while len(self._sent) > in_flight:
            batch = self._sent.popleft()
            try:
                if not self._background.result():
                    # The batches after it wait for it.
                    in_flight = 0
                    # This thread waits, because layouts and the catalog belong to it.
                    self._background.run(lambda: self._writer.mend(batch))  # noqa: B023 - used at once
            except BaseException:
                # The batches after it are not written.
                self._sent.clear()
                raise
            self._note(batch)
            if not self._sent:
                self._writer.is_held = False

    def keep_alive(self) -> None:
        """Keep the destination from ending a transaction that waits for the source; call this often."""
        if self._is_partly_sent and not self._sent and time.monotonic() >= self._touch_at:
            self._touch_at = time.monotonic() + _TOUCH
            self._background.run(self._writer.touch)

    def close(self) -> None:
        """Wait for the batches on their way, and ignore their outcome."""
        self._background.close()

    def _note(self, batch: Batch) -> None:
        self._copied += len(batch.rows)
        self._letters += len(batch.letters)
        if batch.end is not None:
            self.checkpoint = batch.end
            self.committed_at = batch.committed_at or self.committed_at
            self.written += self._copied
            self.kept += self._letters
            self._copied = self._letters = 0

    def _send_open(self) -> None:
        """Send what has been read of the open transaction, after the complete ones."""
        self.send()
        gathered, self._open, self._is_partly_sent = self._open, Gathered(), True
        self._send(Batch(gathered.rows, gathered.letters, self._sent_end))

    def _send(self, batch: Batch) -> None:
        self.settle(_IN_FLIGHT - 1)
        self._sent.append(batch)
        self._background.start(lambda: self._writer.attempt(batch))
