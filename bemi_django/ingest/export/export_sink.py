"""Export changes to a target: the sink of ``bemi run --to`` without a queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg2

from bemi_django.ingest.destination.background import Background
from bemi_django.ingest.destination.batch import Outline, Pending
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.export.export_writer import ExportBatch, ExportWriter, Kept
from bemi_django.ingest.export.target import ExportPart, ExportTarget
from bemi_django.ingest.rows.copy_format import ID_AT
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.wire.defaults import LARGEST_DEAD_LETTER
from bemi_django.wire.ids import ordinal_in, sequence_in
from bemi_django.wire.sequence import HistoryStart, sequence_at

#: Bytes of rows after which a batch is full; a larger transaction is divided into parts of this size.
LIMIT = 1024 * 1024
#: Batches on their way: one is being written, and the next is at hand.
_IN_FLIGHT = 2
#: Seconds after which what was written is kept while somebody waits for it.
_HURRY = (0.2, 0.5, *range(1, 10))


class Exported(NamedTuple):
    """What is exported: the slot, the LSN where it begins, and the histories of its changes."""

    slot: str
    checkpoint: int
    histories: Sequence[HistoryStart]


class ExportSink:
    """Gathers transactions and writes them to a target in the background; see :class:`.pipeline.Sink`.

    Args:
        connection: A connection to the database of the checkpoint.
        target: Where to write; closed with the sink.
        exported: What is exported.
        outline: Writes a row whose values are not text.
        hold: Called while the target is waited for; it must not fail.
        goes_on: Called then too; it returns False if the worker is to stop.
        counts: What is kept with the checkpoint.
        omissions: What was left out of the open transaction; it is emptied when the transaction ends.
        largest_letter: Bytes of the largest message that is kept whole as a dead letter.
    """

    def __init__(
        self,
        connection: Any,
        target: ExportTarget,
        exported: Exported,
        outline: Outline,
        hold: Callable[[], object] = lambda: None,
        goes_on: Callable[[], bool] = lambda: True,
        counts: Mapping[str, int] | None = None,
        omissions: Omissions | None = None,
        largest_letter: int = LARGEST_DEAD_LETTER,
    ) -> None:
        slot, checkpoint, self._histories = exported
        self._target, self._outline, self._hold, self._goes_on = target, outline, hold, goes_on
        self._omissions = Omissions() if omissions is None else omissions
        self._largest_letter = largest_letter
        self._writer = ExportWriter(connection, slot, target, checkpoint, counts)
        self._open = _OpenPart()
        self._ready: list[ExportPart] = []
        self._letters: list[RejectedMessage] = []
        self._size = 0
        self._end = checkpoint
        self._is_waiting = False
        self._background: Background[Kept | None] = Background(self._while_waiting)
        self.fileno = self._background.fileno
        #: While somebody waits for what is written, it is kept at these times, as many as there are.
        self._keep_at: list[float] = []
        self.in_flight = 0
        self.has_pending = False
        self.checkpoint = checkpoint
        self.committed_at = self.written = self.kept = 0

    def add(self, pending: Pending) -> None:
        """Take one row of the open transaction."""
        row = bytes(pending.row)
        try:
            rendered = self._target.render(row)
        except UnicodeDecodeError:
            row, letter = self._outline(pending)
            self.add_letter(letter)
            rendered = self._target.render(row)
        part = self._open
        if part.size >= LIMIT:
            # Not before the next row has come: the last part says that it is the last.
            self._send_open(pending)
        if not part.rows:
            identifier = row[ID_AT]
            part.sequence = sequence_in(identifier)
            part.ordinal = ordinal_in(identifier)
        part.rows.append(rendered)
        part.size += len(row)

    def add_letter(self, letter: RejectedMessage) -> None:
        """Take a dead letter of the open transaction."""
        self._letters.append(letter.limited(self._largest_letter))

    def end(self, lsn: int, committed_at: int, transaction: int = 0, is_notable: bool = False) -> None:
        """Complete the open transaction; see :class:`bemi_django.ingest.pipeline.Sink`."""
        self._end = max(self._end, lsn)
        # The log knows what was left out of the log.
        self._omissions.columns.clear()
        self._omissions.changes.clear()
        if self._open.rows:
            end = sequence_at(self._histories, self._end)
            self._size += self._open.size
            self._ready.append(self._open.taken(committed_at, transaction, end))
        self.has_pending |= is_notable or bool(self._ready or self._letters)

    @property
    def is_full(self) -> bool:
        """Whether the complete transactions should be sent now."""
        return self._size >= LIMIT

    def send(self) -> None:
        """Begin to write complete transactions.

        Raises:
            SinkUnavailable, psycopg2.Error, BemiError: As :meth:`settle`.
        """
        if self.has_pending:
            self._send(ExportBatch(self._ready, self._letters, self._end))

    def finish(self) -> None:
        """Begin to make durable also what waits for more, before the session ends."""
        self._send(ExportBatch(self._ready, self._letters, self._end, is_last=True))

    def settle(self, in_flight: int = 0) -> None:
        """Wait until at most ``in_flight`` batches are on their way.

        Raises:
            SinkUnavailable: The target does not take them now.
            psycopg2.Error: The checkpoint cannot be written.
            BemiError: An administrator has to do something.
        """
        while self.in_flight > in_flight:
            self.in_flight -= 1
            try:
                kept = self._background.result()
            except BaseException:
                # The batches after it are not written.
                self.in_flight = 0
                raise
            if kept is not None:
                self.checkpoint = kept.end
                self.committed_at = kept.committed_at or self.committed_at
                self.written += kept.rows
                self.kept += kept.letters

    def keep_alive(self) -> None:
        """Make durable what has waited long enough; call this often."""
        if self.in_flight or self._is_waiting:
            return
        is_due = bool(self._keep_at and time.monotonic() >= self._keep_at[0])
        if is_due:
            del self._keep_at[0]
        if is_due or self._target.is_due:
            self._send(ExportBatch(self._ready, self._letters, self._end, is_last=True))

    def hurry(self) -> None:
        """Do not wait for more in the next seconds: somebody waits for what is written."""
        now = time.monotonic()
        self._keep_at = [now + seconds for seconds in _HURRY]

    def close(self) -> None:
        """Wait for the batches on their way, ignore their outcome, and close the target."""
        self._target.interrupt()
        self._background.close()
        self._target.close()

    def _send(self, batch: ExportBatch) -> None:
        self._ready, self._letters, self._size, self.has_pending = [], [], 0, False
        self._start(batch)

    def _send_open(self, pending: Pending) -> None:
        """Write what has been read of the open transaction, after the complete ones."""
        self.send()
        part = self._open.taken(pending.change.begin.committed_at)
        letters, self._letters = self._letters, []
        self._start(ExportBatch([part], letters, None))

    def _start(self, batch: ExportBatch) -> None:
        self.settle(_IN_FLIGHT - 1)
        self.in_flight += 1
        self._background.start(lambda: self._writer.write(batch))

    def _while_waiting(self) -> None:
        """Keep the source; let the target give up where the worker is to stop."""
        self._hold()
        self._is_waiting = True
        try:
            with suppress(psycopg2.Error):
                if not self._goes_on():
                    self._target.interrupt()
        finally:
            self._is_waiting = False


class _OpenPart:
    """The changes of the open transaction that wait, and where they begin."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.size = self.sequence = self.ordinal = 0

    def taken(self, committed_at: int, transaction: int = 0, end: int | None = None) -> ExportPart:
        """Return the part, and begin another one."""
        part = ExportPart(self.rows, self.sequence, self.ordinal, committed_at, transaction, end)
        self.rows, self.size = [], 0
        return part
