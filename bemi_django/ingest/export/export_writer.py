"""Write batches to a target in the background, and move the checkpoint when the target has them for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bemi_django.exceptions import SinkUnavailable
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.export.target import ExportPart, ExportTarget


class ExportBatch(NamedTuple):
    """Parts that are written together, and the dead letters of their transactions.

    ``end`` is the LSN up to which all transactions are complete with them, None within one. ``is_last``
    tells that nothing is to wait for more.
    """

    parts: Sequence[ExportPart]
    letters: list[RejectedMessage]
    end: int | None
    is_last: bool = False


class Kept(NamedTuple):
    """What a target has for good: changes and letters since the last time, and all up to the LSN ``end``."""

    rows: int
    letters: int
    end: int
    committed_at: int | None


class ExportWriter:
    """Writes batches one after another; after one that failed, none.

    Args:
        connection: A connection to the database of the checkpoint.
        slot: The name of the slot.
        target: Where to write.
        checkpoint: Where the exported changes end, in bytes.
        counts: What is kept with the checkpoint.
    """

    def __init__(
        self,
        connection: Any,
        slot: str,
        target: ExportTarget,
        checkpoint: int,
        counts: Mapping[str, int] | None,
    ) -> None:
        self._connection, self._slot, self._target = connection, slot, target
        self._checkpoints = Checkpoints(connection, slot, counts)
        self._checkpoint = checkpoint
        self._rows = self._letters = 0
        self._committed_at: int | None = None
        self._has_failed = False

    def write(self, batch: ExportBatch) -> Kept | None:
        """Write a batch; return what is kept since the last time, or None if the target waits for more.

        Raises:
            SinkUnavailable, psycopg2.Error, BemiError: It was not written, or is not kept.
        """
        if self._has_failed:
            raise SinkUnavailable(f"{self._target.name} has not taken what came before")
        self._has_failed = True
        kept = self._write(batch)
        self._has_failed = False
        return kept

    def _write(self, batch: ExportBatch) -> Kept | None:
        # Before the changes: after a crash in between they are kept twice, and never lost.
        self._keep_letters(batch.letters)
        for part in batch.parts:
            if (letter := self._target.write(part)) is not None:
                self._keep_letters([letter])
            self._rows += len(part.rows)
            self._committed_at = part.committed_at
        if batch.end is None or not self._target.keep(is_last=batch.is_last):
            return None
        kept = Kept(self._rows, self._letters, batch.end, self._committed_at)
        with self._connection, self._connection.cursor() as cursor:
            place = self._checkpoint, kept.end, kept.committed_at
            self._checkpoints.advance(cursor, *place, written=self._target.position)
        self._checkpoint = kept.end
        self._rows = self._letters = 0
        self._committed_at = None
        return kept

    def _keep_letters(self, letters: list[RejectedMessage]) -> None:
        if letters:
            with self._connection, self._connection.cursor() as cursor:
                dead_letters.insert(cursor, self._slot, letters)
            self._letters += len(letters)
