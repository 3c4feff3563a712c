"""Make what was read durable in the log, and then confirm it to the source."""

from __future__ import annotations

import logging
import time
from collections import deque

from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.rows.row_writer import EPOCH_SECONDS
from bemi_django.ingest.stream.session import Session

logger = logging.getLogger(__name__)


class Committer:
    """Sends what ``sink`` has gathered; nothing is confirmed to the source that the log does not have."""

    def __init__(self, session: Session, sink: Sink, progress: Progress) -> None:
        self._session = session
        self._sink = sink
        self._progress = progress
        self._noted = sink.checkpoint
        #: Durable checkpoints that wait to be confirmed, with the end of the WAL that holds each. That of the
        #: session before is one of them: the stream of that session need not have passed it.
        self._unconfirmed = deque([(sink.checkpoint, session.log_end())])
        self._counted = self._kept = 0

    def send(self) -> None:
        """Begin to make complete transactions durable."""
        if self._sink.has_pending:
            # Before the log says that it is complete.
            self._session.require_publication()
            self._sink.send()
            self._acknowledge()

    def settle(self, in_flight: int = 0) -> None:
        """Wait until at most ``in_flight`` batches are on their way, and confirm what is durable."""
        self._sink.settle(in_flight)
        self._acknowledge()

    def flush(self) -> None:
        """Make complete transactions durable, and wait for it."""
        self.send()
        self.settle()

    def finish(self) -> None:
        """Make complete transactions durable, also those that wait for more, and wait for it."""
        self.flush()
        self._sink.finish()
        self.settle()

    def salvage(self) -> None:
        """After a failure, wait for the batches on their way: each is durable, or raises what is wrong."""
        self._sink.settle()
        self._count()

    def save(self) -> None:
        """After the stream has failed, make complete transactions durable without confirming them."""
        if self._sink.has_pending:
            self._session.require_publication()
            self._sink.send()
        self.salvage()

    def log_progress(self, is_caught_up: bool = False) -> None:
        """Log the progress line if it is due; ``is_caught_up`` tells that the stream has nothing to read."""
        if self._progress.is_due(time.time() - EPOCH_SECONDS - self._sink.committed_at / 1e6):
            lag = (
                (self._session.source.position - self._sink.checkpoint, 0.0) if is_caught_up else self._lag()
            )
            logger.info("%s", self._progress.line(*lag))

    def confirm(self) -> None:
        """Confirm the checkpoints that the stream has passed; call this often.

        Where the log lives in the source, the stream has to come to the WAL that holds the checkpoint. The
        server sends that only after the standbys in ``synchronized_standby_slots`` have it: otherwise a
        standby could have the slot's position, and be promoted without the rows of the log.
        """
        passed = None
        while self._unconfirmed and self._unconfirmed[0][1] <= self._session.source.position:
            passed, _ = self._unconfirmed.popleft()
        if passed is not None:
            self._session.source.confirm(passed)

    def _acknowledge(self) -> None:
        checkpoint = self._sink.checkpoint
        if checkpoint > self._noted:
            self._noted = checkpoint
            self._unconfirmed.append((checkpoint, self._session.log_end()))
        self.confirm()
        self._count()
        self.log_progress()

    def _count(self) -> None:
        self._progress.add(self._sink.written - self._counted)
        self._counted = self._sink.written
        if letters := self._sink.kept - self._kept:
            self._kept = self._sink.kept
            self._progress.counts["dead letters"] += letters
            logger.error(
                "%d messages could not be stored completely: they are kept in _bemi.dead_letters; "
                "'manage.py bemi retry-dead-letters' tries again",
                letters,
            )

    def _lag(self) -> tuple[int, float | None]:
        lsn, now = self._session.ask(
            "SELECT pg_current_wal_lsn() - '0/0', extract(epoch FROM clock_timestamp())::float8"
        )
        committed_at = self._sink.committed_at
        seconds = now - EPOCH_SECONDS - committed_at / 1e6 if committed_at else None
        return int(lsn) - self._sink.checkpoint, seconds
