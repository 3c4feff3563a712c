"""Leave out a transaction that the server cannot send: the operator's way past it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bemi_django.exceptions import ReplicationError, Unsendable
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.loop.transaction import TransactionReached
from bemi_django.ingest.loop.worker import Worker, advised
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.protocol.messages import Begin
from bemi_django.ingest.stream.gaps import SkippedTransactions, record_skipped
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.wire.lsn import format_lsn


def skip(
    config: WorkerConfig, lsn: int, timeouts: Timeouts | None = None, who: Mapping[str, Any] | None = None
) -> SkippedTransactions:
    """Write what committed before a transaction, record a gap for it, and let the stream begin at its end.

    Args:
        config: The configuration of the worker, which must not be running.
        lsn: Where the transaction commits: its commit LSN, in bytes.
        timeouts: Timeouts of the worker.
        who: Who leaves it out, and why, for the context of the gap.

    Returns:
        What was left out: exactly that transaction or, if the server fails before it tells which one it is
        about to send, all that commits from the end of the log to ``lsn``.

    Raises:
        ReplicationError: No transaction commits there, another one cannot be sent, or the slot is in use.
        BemiError: An administrator has to do something else first.
        psycopg2.Error: One of the databases failed.
    """
    skipper = _Skipper(config, Progress(), timeouts)
    skipper.who = who or {}
    try:
        with advised():
            return skipper.skip(lsn)
    finally:
        skipper.close()


class _Skipper(Worker):
    who: Mapping[str, Any]

    def skip(self, lsn: int) -> SkippedTransactions:
        self._open(self._patience)
        start = self._sink.checkpoint
        if lsn < start:
            raise ReplicationError(
                f"nothing to skip at {format_lsn(lsn)}: the log goes on to {format_lsn(start)}"
            )
        self._transactions.stop_at = lsn
        try:
            self._work(until_current=True)
            reached = None
        except TransactionReached as found:
            reached = found.begin
        except Unsendable as error:
            self._committer.save()
            return self._skip_unsendable(lsn, error)
        self._committer.flush()
        if reached is None or reached.commit_lsn != lsn:
            raise ReplicationError(
                f"no transaction of the stream commits at {format_lsn(lsn)}: nothing was skipped"
            )
        return self._leave_out(lsn, reached)

    def _skip_unsendable(self, lsn: int, error: Unsendable) -> SkippedTransactions:
        current = self._transactions.current
        if current is not None:
            place = format_lsn(current.begin.commit_lsn)
            raise ReplicationError(
                f"the transaction that commits at {place} comes first, and the server cannot send it "
                f"({error}): run 'manage.py bemi skip {place}'"
            )
        (end,) = self._session.ask("SELECT pg_current_wal_flush_lsn() - '0/0'")
        if lsn >= int(end):
            raise ReplicationError(f"the server has no WAL at {format_lsn(lsn)}: nothing was skipped")
        return self._leave_out(lsn, None)

    def _leave_out(self, lsn: int, begin: Begin | None) -> SkippedTransactions:
        session = self._session
        first = self._sink.checkpoint
        xid = None if begin is None else self._writer.ids.full_xid(begin.xid)
        skipped = SkippedTransactions(first, lsn, begin, xid)
        with session.destination, session.destination.cursor() as cursor:
            place = session.database, self._writer.ids.source, session.histories
            record_skipped(cursor, session.copier, skipped, *place, self.who)
            # The next transaction commits after it, wherever its commit record ends.
            committed_at = None if begin is None else begin.committed_at
            checkpoints = Checkpoints(session.destination, session.slot)
            checkpoints.advance(cursor, first, lsn + 1, committed_at, [] if xid is None else [xid])
        return skipped
