"""Read the rows of ``bemi baseline`` where a queue is between the worker and the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.loop.baseline_ranges import BaselineRange, BaselineRanges
from bemi_django.ingest.loop.transaction import OpenTransaction
from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.queue.lane_source import NamedSince
from bemi_django.ingest.stream.session import Session
from bemi_django.masking.rules import Rules
from bemi_django.wire.lsn import parse_lsn
from bemi_django.wire.sequence import sequence_at

#: Seconds between two looks at how far the consumers are.
_PAUSE = 0.05


class QueuedBaselines(BaselineRanges):
    """Reads ranges, and keeps no transaction of the destination open, which others write.

    All rows of a range for all logs are published: consumers leave out those that have a change in their log.

    Args:
        session, shows, flush, keep_alive, masking: See :class:`BaselineRanges`.
        named_since: Gets the tables whose rows are read.
    """

    def __init__(
        self,
        session: Session,
        shows: Callable[[int], bool],
        flush: Callable[[], None],
        keep_alive: Callable[[], bool],
        masking: Rules,
        named_since: NamedSince,
    ) -> None:
        super().__init__(session, shows, flush, keep_alive, masking)
        self._named_since = named_since

    def _get_ready(self) -> None:
        if not self._is_copy:
            super()._get_ready()

    def _recorded(
        self, low: str, snapshot: str, table: Sequence[str | None], keys: list[str]
    ) -> set[str] | None:
        schema, name, since = table
        if schema is not None and name is not None and since is not None:
            self._named_since[schema, name] = parse_lsn(since)
        return set() if self._is_copy else super()._recorded(low, snapshot, table, keys)

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
