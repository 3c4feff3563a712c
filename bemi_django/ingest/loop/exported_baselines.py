"""Read the rows of ``bemi baseline --to``, which are for a sink and not for the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bemi_django.ingest.loop.baseline_ranges import BaselineRange, BaselineRanges
from bemi_django.ingest.loop.transaction import OpenTransaction
from bemi_django.ingest.stream.session import Session
from bemi_django.masking.rules import Rules


class ExportedBaselines(BaselineRanges):
    """Reads ranges for a sink, and takes all of their rows, which were locked until the range was committed.

    Args:
        session: The connections of the worker.
        shows: Tells whether the source shows a transaction.
        keep_alive: Called while the worker waits for the server; returns False if the worker is to stop.
        masking: The rules.
        hurry: Called when a range was taken: the command waits until it is kept.
    """

    def __init__(
        self,
        session: Session,
        shows: Callable[[int], bool],
        keep_alive: Callable[[], bool],
        masking: Rules,
        hurry: Callable[[], object],
    ) -> None:
        # There is nothing that has to be in the log first.
        super().__init__(session, shows, lambda: None, keep_alive, masking)
        self.sink = session.slot
        self._hurry = hurry

    def read(self, transaction: OpenTransaction) -> BaselineRange | None:
        """Take the rows that a transaction has read; see :meth:`BaselineRanges.read`."""
        found = super().read(transaction)
        if transaction.is_notable:
            self._hurry()
        return found

    def _recorded(self, low: str, snapshot: str, root: Sequence[str], keys: list[str]) -> set[str] | None:
        return set()
