"""Gather rows, and write them with the position of a lane: also those of a transaction that is not over."""

from __future__ import annotations

from collections.abc import Sequence

from bemi_django.ingest.destination.batch import Outline, Pending
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.queue.division.taken_chunk import TakenChunk
from bemi_django.ingest.queue.log_writer import LogWriter
from bemi_django.ingest.queue.message.chunk import Chunk
from bemi_django.ingest.queue.message.row_reader import RowReader
from bemi_django.ingest.queue.message.row_values import Values, position_of
from bemi_django.ingest.rows.large_rows import id_of
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.sequence import HistoryStart, lsn_of, sequence_at

_LIMIT = 1024 * 1024
_LANE = 0
_XID = COLUMNS.index("transaction_id")


class LaneSink:
    """The sink of one lane, which nobody else writes; see :class:`bemi_django.ingest.pipeline.Sink`.

    Args:
        writer: Writes to the log.
        slot: The name under which the log knows the source.
        position: Where the log ends.
        histories: Those of the log.
        outline: Writes a row whose values are not text.
        largest_letter: Bytes of the largest message that is kept whole as a dead letter.
        omissions: What was left out of the open transaction; it is emptied when the transaction ends.
        is_canonical: Whether rows have JSON as jsonb prints it, so that they can be sealed.
    """

    is_full = has_pending = False
    in_flight = 0

    def __init__(
        self,
        writer: LogWriter,
        slot: str,
        position: LanePosition,
        histories: Sequence[HistoryStart],
        outline: Outline,
        largest_letter: int,
        omissions: Omissions,
        *,
        is_canonical: bool = False,
    ) -> None:
        self._writer = writer
        self._slot = slot
        self._histories = histories
        self._reader = RowReader(outline)
        self._largest_letter = largest_letter
        self._omissions = omissions
        self._is_canonical = is_canonical
        self._written = self._next = self._last = position
        self._changes: list[Values] = []
        self._letters: list[tuple[LanePosition, RejectedMessage]] = []
        self._left_out: list[tuple[LanePosition, Omissions]] = []
        self._size = 0
        self._committed_at: int | None = None
        #: The number of the message from which a later session goes on, as it was written last, and the
        #: identity of the stream that is read; empty for files.
        self.message, self.stream = 0, ""
        self.checkpoint = lsn_of(position.sequence)
        self.committed_at = self.written = self.kept = 0

    @property
    def is_due(self) -> bool:
        """Whether what was gathered should be written now."""
        return self._size >= _LIMIT

    @property
    def is_gathering(self) -> bool:
        """Whether there is something to write."""
        return self._next > self._written or bool(self._letters or self._left_out)

    @property
    def xids(self) -> set[int]:
        """The ids of the transactions of what was gathered, 64 bits."""
        return {change[_XID] for change in self._changes}

    @property
    def open_position(self) -> int | None:
        """The position of the transaction that was written in part, in bytes; None if there is none."""
        return lsn_of(self._written.sequence) if self._written.ordinal else None

    def add(self, pending: Pending) -> None:
        """Take one row of the open transaction."""
        values, letter = self._reader.read(pending)
        if letter is not None:
            self.add_letter(letter)
        position = self._last = position_of(id_of(pending.row))
        if position < self._written:
            # Of a transaction that is read once more from its beginning.
            return
        self._changes.append(values)
        self._next = max(self._next, LanePosition(position.sequence, position.ordinal + 1))
        self._size += len(pending.row)
        self._committed_at = pending.change.begin.committed_at

    def add_letter(self, letter: RejectedMessage) -> None:
        """Take a dead letter, of the next row of the open transaction if there is one."""
        self._take_letter(self._place_of(letter), letter)

    def add_refused(self, letter: RejectedMessage, ordinal: int) -> None:
        """Take the dead letter of a record of the open transaction that has no row.

        Args:
            letter: The letter.
            ordinal: The number in the transaction that a row would have.
        """
        position = self._last = self._place_of(letter)._replace(ordinal=ordinal)
        if self._take_letter(position, letter):
            self._next = max(self._next, position._replace(ordinal=ordinal + 1))

    def _place_of(self, letter: RejectedMessage) -> LanePosition:
        """Return the position after the last row, in the transaction of a letter."""
        if not letter.position:
            return self._next
        sequence = sequence_at(self._histories, letter.position)
        return LanePosition(sequence, self._last.ordinal + 1 if sequence == self._last.sequence else 0)

    def _take_letter(self, position: LanePosition, letter: RejectedMessage) -> bool:
        if position < self._written:
            # Of a transaction that is read once more from its beginning.
            return False
        kept = letter.limited(self._largest_letter)
        self._letters.append((position, kept))
        self._size += len(kept.message)
        return True

    def end(self, lsn: int, committed_at: int, transaction: int = 0, is_notable: bool = False) -> None:
        """Complete the open transaction."""
        self._next = max(self._next, LanePosition(sequence_at(self._histories, lsn)))
        self._committed_at = committed_at or self._committed_at
        if self._omissions:
            left_out = Omissions()
            left_out.take_over(self._omissions)
            self._left_out.append((self._next, left_out))

    def write(self, message: int, open_at: int | None = None) -> int:
        """Write what was gathered, and return the number of changes.

        Args:
            message: The number of the message from which a later session goes on.
            open_at: The position of the transaction that is not over, in bytes; None if there is none.

        Raises:
            Superseded: Another consumer has written the lane.
            psycopg2.Error: The destination cannot be written to.
        """
        if open_at is not None:
            self._next = max(self._next, LanePosition(sequence_at(self._histories, open_at)))
        if not self.is_gathering and message == self.message:
            return 0
        chunk = Chunk(
            self._slot,
            _LANE,
            self._written,
            self._next,
            None,
            self._committed_at,
            self._changes,
            self._letters,
            self._left_out,
            is_canonical=self._is_canonical,
        )
        written = self._writer.write([TakenChunk(chunk, self._written, message, stream=self.stream)])
        self._changes, self._letters, self._left_out, self._size = [], [], [], 0
        self.written += written
        self.kept += len(chunk.letters)
        self.message, self._written = message, self._next
        self.committed_at = self._committed_at or self.committed_at
        return written

    def send(self) -> None:
        """Do nothing: what was gathered is written when the session says where it goes on."""

    flush = keep_alive = close = finish = send

    def fileno(self) -> int:
        """Raise, because nothing is on its way."""
        raise OSError("nothing is on its way")

    def settle(self, in_flight: int = 0) -> None:
        """Do nothing: nothing is on its way."""
