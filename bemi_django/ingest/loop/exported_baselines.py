"""Read the rows of ``bemi baseline --to``, which are for a sink and not for the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bemi_django.ingest.loop.baseline_ranges import BaselineRanges
from bemi_django.ingest.stream.session import Session
from bemi_django.masking.rules import Rules


class ExportedBaselines(BaselineRanges):
    """Reads ranges for a sink, and takes all of their rows, which were locked until the range was committed.

    Args:
        session: The connections of the worker.
        shows: Tells whether the source shows a transaction.
        keep_alive: Called while the worker waits for the server; returns False if the worker is to stop.
        masking: The rules.
        hurry: Called when there is a range: the command waits until it is kept, or is a dead letter.
    """

    def __init__(
        self,
        session: Session,
        shows: Callable[[int], bool],
        keep_alive: Callable[[], bool],
        masking: Rules,
        hurry: Callable[[], None],
    ) -> None:
        # There is nothing that has to be in the log first.
        super().__init__(session, shows, hurry, keep_alive, masking)
        self.sink = session.slot

    def _recorded(
        self, low: str, snapshot: str, table: Sequence[str | None], keys: list[str]
    ) -> set[str] | None:
        return set()
