"""Give changes to the sink as rows, and keep the messages of those that cannot be written completely."""

from __future__ import annotations

from bemi_django.ingest import error_advice
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.rows.row_writer import OMITTED, RowWriter
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.stitching.stitched import Stitched


class ChangeRows:
    """Writes the rows of changes that took the long path.

    Args:
        writer: Writes the rows.
        sink: Takes them.
        repairer: Repairs those that cannot be written.
        transactions: Follows the transactions of the stream.
        shortages: Counts the failures of all sessions.
    """

    def __init__(
        self,
        writer: RowWriter,
        sink: Sink,
        repairer: Repairer,
        transactions: Transactions,
        shortages: Shortages,
    ) -> None:
        self._writer = writer
        self._sink = sink
        self._repairer = repairer
        self._transactions = transactions
        self._shortages = shortages

    def add(self, changes: list[Stitched], data: bytes, reason: str = "") -> None:
        """Add the changes of one message, unless the log has them.

        Args:
            changes: The changes.
            data: The message.
            reason: Why it is kept although the rows can be written; empty if it is not.
        """
        if not self._transactions.is_recording:
            return
        for change in changes:
            try:
                row, letter = self._row(change, data)
            except Exception as error:
                self._shortages.raise_unless_of_message(error, data)
                self.add_outline(change, data, error_advice.reason_of_message(error))
                continue
            if row is OMITTED:
                continue
            if reason and letter is None:
                letter = self._repairer.letter(change, data, reason)
            if letter is not None:
                self._sink.add_letter(letter)
            self._sink.add(Pending(row, change, data))

    def add_outline(self, change: Stitched, data: bytes, reason: str) -> None:
        """Add a change without its values, and keep the message."""
        row, letter = self._repairer.outline(change, data, reason)
        self._sink.add_letter(letter)
        self._sink.add(Pending(row, change, data))

    def _row(self, change: Stitched, data: bytes) -> tuple[bytes, RejectedMessage | None]:
        for write in (self._writer.row, self._writer.row_of_another_layout):
            try:
                return write(change), None
            except (ValueError, LookupError):
                continue
        return self._repairer.mend(change, data)
