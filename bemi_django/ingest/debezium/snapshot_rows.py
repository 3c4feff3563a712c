"""The rows that a snapshot of the connector has read: they become changes of their own kind."""

from __future__ import annotations

from bemi_django.ingest.debezium.printing.row_messages import ReadRow
from bemi_django.ingest.loop.baseline_ranges import BaselineRange, BaselineRow
from bemi_django.ingest.loop.transaction import OpenTransaction
from bemi_django.ingest.stitching.validation import NO_CONTEXT


class SnapshotRows:
    """Holds the row that the next message of a baseline stands for."""

    def __init__(self) -> None:
        self._row: ReadRow | None = None

    def put(self, row: ReadRow) -> None:
        """Hold a row."""
        self._row = row

    def read(self, transaction: OpenTransaction) -> BaselineRange | None:
        """Return the row; None if the log has its transaction."""
        row, self._row = self._row, None
        if row is None or transaction.is_logged:
            return None
        return BaselineRange(row.relation, NO_CONTEXT, [BaselineRow(row.row, row.message)])
