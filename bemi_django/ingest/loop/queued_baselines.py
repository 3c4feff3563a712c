"""Read the rows of ``bemi baseline`` where a queue is between the worker and the log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.loop.baseline_ranges import BaselineRange, BaselineRanges
from bemi_django.ingest.loop.transaction import OpenTransaction
from bemi_django.ingest.pipeline import Sink
from bemi_django.wire.sequence import sequence_at
from bemi_django.wire.slot_name import sink_of_queue

#: Seconds between two looks at how far the consumers are.
_PAUSE = 0.05


# A command for each log may be at work; only one of them has left the rows of a transaction.
_COPY = """
SELECT description, context::text, low::text, snapshot::text FROM _bemi.baselines
WHERE range_xid = %s::text::xid8 AND starts_with(sink, %s)
"""


class QueuedBaselines(BaselineRanges):
    """Reads ranges, and keeps no transaction of the destination open, which others write.

    A range may be for all logs: then its rows were locked until it was committed, all of them are published,
    and consumers leave out those that have a change in their log.
    """

    _is_copy = False

    def _find(self, xid: str) -> list[tuple[Any, ...]]:
        found = super()._find(xid)
        self._is_copy = not found
        return found or self._ask(_COPY, [xid, sink_of_queue(self._session.slot)])

    def _get_ready(self) -> None:
        if not self._is_copy:
            super()._get_ready()

    def _recorded(self, low: str, snapshot: str, root: Sequence[str], keys: list[str]) -> set[str] | None:
        return set() if self._is_copy else super()._recorded(low, snapshot, root, keys)

    def read(self, transaction: OpenTransaction) -> BaselineRange | None:
        """Take the rows that a transaction has read; see :meth:`BaselineRanges.read`."""
        try:
            return super().read(transaction)
        finally:
            self._session.destination.rollback()

    def wait_for_consumers(self, sink: Sink) -> None:
        """Wait until the log has what was published: which rows it has, is asked of the log.

        Raises:
            QueueUnavailable: The worker is to stop.
        """
        session = self._session
        sequence = sequence_at(session.histories, sink.checkpoint)
        while True:
            with session.destination, session.destination.cursor() as cursor:
                states = lanes.read(cursor, session.slot).values()
            if all(state.position.sequence >= sequence for state in states):
                return
            if not self._keep_alive():
                raise QueueUnavailable("stopped while consumers had to write what came before a baseline")
            time.sleep(_PAUSE)
