"""Take the messages of the stream, and give the rows that they make to the sink."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.partitions import Partitions
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.destination.sink import Sink
from bemi_django.ingest.loop.committer import Committer
from bemi_django.ingest.loop.transaction import OpenTransaction
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Begin, Commit, Decoded, Message
from bemi_django.ingest.rows.fast_path import FastPath
from bemi_django.ingest.rows.layout_catalog import LayoutCatalog
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.ingest.stitching.stitcher import Stitcher

logger = logging.getLogger(__name__)

_DDL = b"_bemi_ddl"
_MARK = b"_bemi_mark"
#: Kinds of messages that hold a row: inserted, updated, deleted.
_ROWS = (b"I", b"U", b"D")
#: Seconds between two questions whether the server shows a transaction.
_SHOWN = 0.01


class Intake:
    """Feed it every message of one stream, in order.

    Rows usually take the fast path; all other messages are decoded and stitched.
    """

    def __init__(
        self,
        catalog: LayoutCatalog,
        writer: RowWriter,
        sink: Sink,
        repairer: Repairer,
        partitions: Partitions,
        committer: Committer,
        counts: Counter[str],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._sink = sink
        self._repairer = repairer
        self._partitions = partitions
        self._committer = committer
        self._is_stopping = is_stopping
        self._decoder = Decoder()
        self._stitcher = Stitcher(writer.named_by)
        self._fast_path = FastPath(self._decoder, self._stitcher, writer, counts)
        #: None between transactions.
        self.transaction: OpenTransaction | None = None
        #: Marks that were written to the WAL and have not come back by the stream.
        self.marks: set[bytes] = set()

    def take(self, data: bytes, lsn: int) -> None:
        """Take one message.

        Args:
            data: The message, without the header of its XLogData.
            lsn: Where it lies in the WAL; 0 for one that has no position.

        Raises:
            psycopg2.Error: One of the databases failed.
        """
        kind = data[:1]
        transaction = self.transaction
        if kind in _ROWS and transaction is not None and not transaction.is_logged:
            taken = self._fast_path.take(data, lsn)
            if taken is not None:
                self._sink.add(Pending(*taken, data))
                return
        elif kind == b"M" and self._fast_path.follow(data):
            self._check_context(data)
            return
        try:
            message = self._decoder.decode(data)
        except ProtocolError as error:
            self._take_undecodable(data, lsn, error)
            return
        if isinstance(message, Message):
            self._take_message(message)
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Commit):
            self._take_changes(message, data, lsn)
            self._end(message)
        elif message is not None:
            self._take_changes(message, data, lsn)

    def _begin(self, begin: Begin) -> None:
        self._stitcher.feed(begin)
        # The server may send again what was written before it heard of it.
        is_logged = begin.commit_lsn < self._sink.checkpoint
        self.transaction = OpenTransaction(self._writer.full_xid(begin.xid), begin.committed_at, is_logged)
        if not self._partitions.covers(begin.committed_at):
            self._committer.flush()
            self._partitions.make(begin.committed_at)

    def _end(self, commit: Commit) -> None:
        if (transaction := self.transaction) is None:
            return
        self.transaction = None
        if transaction.is_altering:
            # For rows that others wrote before this commit, the tables are as they were.
            self._writer.forget()
        self._sink.end(commit.end_lsn, transaction.committed_at, transaction.xid, transaction.is_notable)
        if self._sink.is_full:
            self._committer.send()

    def _take_message(self, message: Message) -> None:
        transaction = self.transaction
        if transaction is None:
            # Somebody else's message: ours belong to a transaction.
            return
        if message.prefix == _DDL:
            self._follow_ddl(transaction)
        elif message.prefix == _MARK:
            transaction.is_notable = True
            self.marks.discard(message.content)

    def _check_context(self, data: bytes) -> None:
        if self._stitcher.is_context_invalid and self._is_recording:
            reason = "the context is no JSON object"
            self._sink.add_letter(dead_letters.of_message(self._stitcher.begin, data, reason))

    def _follow_ddl(self, transaction: OpenTransaction) -> None:
        begin = self._stitcher.begin
        if begin is None:
            return
        self._catalog.note_ddl(transaction.xid, begin.commit_lsn)
        # The server sends a commit a moment before it shows it.
        while not self._is_stopping() and not self._catalog.shows(transaction.xid):
            time.sleep(_SHOWN)
        self._writer.forget()
        transaction.is_altering = True

    @property
    def _is_recording(self) -> bool:
        return self.transaction is None or not self.transaction.is_logged

    def _take_changes(self, message: Decoded, data: bytes, lsn: int) -> None:
        changes = self._stitcher.feed(message, lsn)
        if self._is_recording:
            for change in changes:
                self._sink.add(Pending(self._row(change, data), change, data))

    def _row(self, change: Stitched, data: bytes) -> bytes:
        try:
            return self._writer.row(change)
        except (ValueError, LookupError):
            pass
        try:
            return self._writer.row_of_another_layout(change)
        except (ValueError, LookupError):
            row, letter = self._repairer.mend(change, data)
        self._sink.add_letter(letter)
        return row

    def _take_undecodable(self, data: bytes, lsn: int, error: ProtocolError) -> None:
        outline = self._decoder.outline(data)
        changes = self._stitcher.feed(outline, lsn) if outline is not None else []
        if not self._is_recording:
            return
        logger.error("a message of the server cannot be decoded: it is kept in _bemi.dead_letters")
        if not changes:
            self._sink.add_letter(dead_letters.of_message(self._stitcher.begin, data, str(error)))
        for change in changes:
            self._sink.add_letter(self._repairer.letter(change, data, str(error)))
            self._sink.add(Pending(self._writer.row(change), change, data))
