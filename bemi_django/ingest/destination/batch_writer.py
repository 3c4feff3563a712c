"""Write a batch in the open transaction of the destination, and repair what the destination refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bemi_django.ingest.destination import dead_letters, omissions_table
from bemi_django.ingest.destination.batch import Batch, Pending
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.copying import RowCopier, is_taken
from bemi_django.ingest.destination.dead_letters import RejectedMessage

#: Writes what the destination takes of a row that it has refused, and returns a letter of the rest.
Repair = Callable[[Any, Pending], RejectedMessage]


class BatchWriter:
    """Writes batches one after another; the transaction ends with each batch that moves the checkpoint.

    Args:
        connection: A connection to the destination.
        slot: The name of the slot.
        repair: Repairs a row that the destination refuses.
        largest_letter: Bytes of the largest message that is kept whole as a dead letter.
        counts: What is kept with the checkpoint.
        copier: Writes the rows.
    """

    def __init__(
        self,
        connection: Any,
        slot: str,
        repair: Repair,
        largest_letter: int,
        counts: Mapping[str, int] | None = None,
        copier: RowCopier | None = None,
    ) -> None:
        self._connection = connection
        self._slot = slot
        self._checkpoints = Checkpoints(connection, slot, counts)
        self._repair = repair
        self._largest_letter = largest_letter
        self._copier = copier or RowCopier()
        #: Whether a batch was refused: those after it must not be written before it is repaired.
        self.is_held = False

    def attempt(self, batch: Batch) -> bool:
        """Write the batch; return False if the destination refuses it, or one before it was refused."""
        if self.is_held:
            return False
        self.is_held = True
        with self._connection.cursor() as cursor:
            is_written = not batch.rows or is_taken(cursor, lambda: self._copier.copy(cursor, batch.rows))
            if is_written:
                self._complete(cursor, batch)
        self.is_held = not is_written
        return is_written

    def mend(self, batch: Batch) -> None:
        """Write a batch that was refused, row by row where it has to be."""
        with self._connection.cursor() as cursor:
            self._copy_or_repair(cursor, batch.rows, batch.letters)
            self._complete(cursor, batch)

    def touch(self) -> None:
        """Give a sign of life."""
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def _complete(self, cursor: Any, batch: Batch) -> None:
        dead_letters.insert(cursor, self._slot, batch.letters)
        self._copier.seal(cursor)
        if batch.end is not None:
            if batch.omissions:
                omissions_table.add(cursor, self._slot, batch.omissions)
            self._checkpoints.advance(cursor, batch.begin, batch.end, batch.committed_at, batch.transactions)
            self._connection.commit()
        else:
            self._checkpoints.claim(cursor)

    def _copy_or_repair(self, cursor: Any, rows: list[Pending], letters: list[RejectedMessage]) -> None:
        """Copy rows; halve them while they are refused, until one is left, which is repaired."""
        if is_taken(cursor, lambda: self._copier.copy(cursor, rows)):
            return
        if len(rows) == 1:
            letters.append(self._repair(cursor, rows[0]).limited(self._largest_letter))
            return
        middle = len(rows) // 2
        self._copy_or_repair(cursor, rows[:middle], letters)
        self._copy_or_repair(cursor, rows[middle:], letters)
