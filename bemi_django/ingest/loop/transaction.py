"""Follow the transactions that the server sends: where they begin and end, and what they do to tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.destination.partitions import Partitions
from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.protocol.messages import Begin, Commit, Message
from bemi_django.ingest.rows.catalog.layout_catalog import LayoutCatalog
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.wire.sequence import MAX_LSN

_DDL = b"_bemi_ddl"
_MARK = b"_bemi_mark"
#: Seconds between two questions whether the server shows a transaction.
_SHOWN = 0.01
#: Commit times that a date can hold, in microseconds since 2000-01-01 UTC: from the year 1 to 9998.
_EARLIEST, _LATEST = -63_082_281_600_000_000, 252_423_993_600_000_000


class Durability(Protocol):
    """Makes complete transactions durable."""

    def send(self) -> None:
        """Begin to make them durable."""

    def flush(self) -> None:
        """Make them durable, and wait for it."""


@dataclass(slots=True)
class OpenTransaction:
    """What the worker knows of a transaction; ``xid`` has 64 bits.

    ``begin``: its first message.
    ``is_logged``: the log has it, and the server sends it again because it had not heard of that.
    ``is_notable``: its end is worth a checkpoint even if it has no rows.
    ``mark``: the mark that it holds; empty without one.
    ``is_altering``: it has executed DDL, so others were written with other tables; None before a message says
    that it may have.
    """

    begin: Begin
    xid: int
    is_logged: bool
    is_notable: bool = False
    mark: bytes = b""
    is_altering: bool | None = None


class TransactionReached(Exception):
    """The stream has come to ``begin``, where it was to stop; nothing of the transaction was taken."""

    def __init__(self, begin: Begin) -> None:
        super().__init__()
        self.begin = begin


class Transactions:
    """Tells the sink, the writer and the catalog of each transaction.

    Args:
        catalog: Knows the tables of any moment.
        writer: Writes the rows.
        sink: Takes the rows.
        partitions: Makes the partition of a month before the first row of it.
        committer: Makes complete transactions durable.
        keep_alive: Called while the worker waits for the server; returns False if the worker is to stop.
    """

    def __init__(
        self,
        catalog: LayoutCatalog,
        writer: RowWriter,
        sink: Sink,
        partitions: Partitions,
        committer: Durability,
        keep_alive: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._sink = sink
        self._partitions = partitions
        self._committer = committer
        self._keep_alive = keep_alive
        #: The open transaction; None between transactions.
        self.current: OpenTransaction | None = None
        #: The commit time of the last transaction; None before the first one.
        self.latest: int | None = None
        #: Where to stop: before the transaction that commits there, or the first one after it.
        self.stop_at: int | None = None
        #: Marks that were written to the WAL and whose commit has not come by the stream.
        self.marks: set[bytes] = set()

    @property
    def is_recording(self) -> bool:
        """Whether the log lacks what comes now; the server may send transactions again that it has."""
        return self.current is None or not self.current.is_logged

    @staticmethod
    def require_plausible(begin: Begin) -> None:
        """Check what every row of a transaction needs.

        Raises:
            ProtocolError: The log cannot hold its position or its commit time.
        """
        if begin.commit_lsn > MAX_LSN or not _EARLIEST <= begin.committed_at < _LATEST:
            raise ProtocolError("a transaction whose position or commit time cannot be")

    def begin(self, begin: Begin) -> None:
        """Open a transaction.

        Raises:
            TransactionReached: The stream has come to where it is to stop.
        """
        if self.stop_at is not None and begin.commit_lsn >= self.stop_at:
            raise TransactionReached(begin)
        self.latest = begin.committed_at
        # The server may send again what was written before it heard of it.
        is_logged = begin.commit_lsn < self._sink.checkpoint
        self.current = OpenTransaction(begin, self._writer.ids.full_xid(begin.xid), is_logged)
        if not self._partitions.covers(begin.committed_at):
            self._committer.flush()
            self._partitions.make(begin.committed_at)

    def end(self, commit: Commit) -> None:
        """Close the open transaction."""
        if (transaction := self.current) is None:
            return
        self.current = None
        if transaction.is_altering:
            # For rows that others wrote before this commit, the tables are as they were.
            self._writer.forget()
        committed_at = transaction.begin.committed_at
        self._sink.end(commit.end_lsn, committed_at, transaction.xid, transaction.is_notable)
        self.marks.discard(transaction.mark)
        if self._sink.is_full:
            self._committer.send()

    def take_message(self, message: Message) -> None:
        """Take a logical message that holds no context."""
        transaction = self.current
        if transaction is None:
            # Somebody else's message: ours belong to a transaction.
            return
        if message.prefix == _DDL:
            self._follow_ddl(transaction)
        elif message.prefix == _MARK:
            transaction.is_notable = True
            transaction.mark = message.content

    def _follow_ddl(self, transaction: OpenTransaction) -> None:
        if transaction.is_altering is not None:
            # After its commit, the source tells of all of its DDL at once.
            return
        # The server sends a commit a moment before it shows it; with synchronous replication, long before.
        ask = self._catalog.transactions.has_described
        while (has_described := ask(transaction.xid)) is None and self._keep_alive():
            time.sleep(_SHOWN)
        # Anybody may send such a message. Only descriptions are worth remembering a transaction.
        transaction.is_altering = has_described is not False
        if transaction.is_altering:
            self._catalog.note_ddl(transaction.xid, transaction.begin.commit_lsn)
            self._writer.forget()
