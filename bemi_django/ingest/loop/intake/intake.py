"""Take the messages of the stream, and give the rows that they make to the sink.

Whatever goes wrong with one message, the worker goes on: the row holds what is known, and the message becomes
a dead letter. Only errors of connections, rights and configuration leave this module.
"""

from __future__ import annotations

from collections import Counter

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest import error_advice
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.batch import pending_of
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.loop import baseline_ranges
from bemi_django.ingest.loop.baseline_ranges import Baselines
from bemi_django.ingest.loop.intake import events
from bemi_django.ingest.loop.intake.change_rows import ChangeRows
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.protocol.byte_layout import MARK_AT, OID_AT
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Begin, Commit, Decoded, Message
from bemi_django.ingest.protocol.oversize import OVERSIZE, read_oversize
from bemi_django.ingest.rows.catalog.mask_catalog import MaskCatalog
from bemi_django.ingest.rows.fast_path import FastPath
from bemi_django.ingest.rows.row_writer import OMITTED, RowWriter
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.stitching.event_message import EventReader
from bemi_django.ingest.stitching.provenance import NO_PROVENANCE, Provenance, without_connection
from bemi_django.ingest.stitching.stitched import RowMessage, stitch
from bemi_django.ingest.stitching.stitcher import NO_MASKS, Stitcher

#: Kinds of messages that hold a row: inserted, updated, deleted.
_ROWS = (b"I", b"U", b"D")


class Intake:
    """Feed it every message of one stream, in order.

    Rows usually take the fast path; all other messages are decoded and stitched.

    Args:
        writer: Writes the rows.
        sink: Takes them.
        repairer: Repairs those that cannot be written.
        transactions: Follows the transactions of the stream.
        counts: Where to count the rows that take the long path, by reason.
        log_encoding: The encoding of the log's database.
        shortages: Counts the failures of all sessions.
        baselines: Reads the rows of ``bemi baseline``; None to take none.
        masks: Knows what is masked; None to mask nothing.
        provenance: Adds to contexts what is known of where they come from.
    """

    def __init__(
        self,
        writer: RowWriter,
        sink: Sink,
        repairer: Repairer,
        transactions: Transactions,
        counts: Counter[str],
        log_encoding: str = "UTF8",
        shortages: Shortages | None = None,
        baselines: Baselines | None = None,
        masks: MaskCatalog | None = None,
        provenance: Provenance = NO_PROVENANCE,
    ) -> None:
        self._has_masks = masks.has_masks if masks else lambda oid: False
        self._context_masks = masks.of_contexts() if masks else NO_MASKS
        self._sink = sink
        self._transactions = transactions
        self._baselines = baselines
        self._shortages = shortages or Shortages()
        self._rows = ChangeRows(writer, sink, repairer, transactions, self._shortages)
        self._decoder = Decoder()
        masking = self._context_masks, self._has_masks, provenance
        self._stitcher = Stitcher(writer.named_by, log_encoding, *masking)
        self.pass_over = self._stitcher.pass_over  # counts an event of the transaction that has no row
        self._fast_path = FastPath(self._decoder, self._stitcher, writer, counts)
        reader = EventReader(self._context_masks, log_encoding, provenance.signatures)
        self._events = events.Events(self._stitcher, transactions, repairer, sink, self._shortages, reader)

    def take(self, data: bytes, lsn: int) -> None:
        """Take one message.

        Args:
            data: The message, without the header of its XLogData.
            lsn: Where it lies in the WAL; 0 for one that has no position.

        Raises:
            psycopg2.Error: One of the databases failed.
            BemiError: An administrator has to do something.
        """
        kind = data[:1]
        if kind in _ROWS:
            if len(data) >= OVERSIZE:
                self._take_oversize(data, lsn)
                return
            transaction = self._transactions.current
            if transaction is not None and not transaction.is_logged:
                try:
                    taken = self._fast_path.take(data, lsn)
                except Exception as error:
                    # The long path has ways to go on.
                    self._shortages.raise_unless_of_message(error, data)
                    taken = None
                if taken is not None:
                    row, header = taken
                    if row is not OMITTED:
                        self._sink.add(pending_of((row, header, data)))
                    return
        elif kind == b"M" and self._follow(data):
            return
        self._take_long_path(data, lsn)

    def _follow(self, data: bytes) -> bool:
        """Give the rows that follow a context; return False for another logical message."""
        try:
            if not self._fast_path.follow(data):
                return False
            reason = "the context is no JSON object" if self._stitcher.is_context_invalid else ""
        except Exception as error:
            self._shortages.raise_unless_of_message(error, data)
            reason = error_advice.reason_of_message(error)
            # The rows that follow must not get the context of the statement before.
            self._stitcher.follow(b"")
            self._stitcher.is_touching = self._context_masks.has_rules
        if reason and self._transactions.is_recording:
            letter = dead_letters.of_message(self._stitcher.begin, without_connection(data), reason)
            self._sink.add_letter(letter.withheld() if self._stitcher.may_hold_masked(data) else letter)
        return True

    def _take_long_path(self, data: bytes, lsn: int) -> None:
        message: Decoded | None = None
        try:
            message = self._decoder.decode(data)
            if isinstance(message, Begin):
                self._transactions.require_plausible(message)
            changes = [] if message is None else self._stitcher.feed(message, lsn)
        except Exception as error:
            self._shortages.raise_unless_of_message(error, data)
            self._take_outline(data, lsn, error_advice.reason_of_message(error))
        else:
            if changes:
                self._rows.add(changes, data)
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Commit):
            self._transactions.end(message)
        elif isinstance(message, Message):
            self._transactions.take_message(message)
            if message.prefix == baseline_ranges.PREFIX:
                self._take_baseline(data)
            elif message.prefix == events.PREFIX:
                self._events.take(message, data)

    def _take_baseline(self, data: bytes) -> None:
        """Take the rows that a transaction has read."""
        transaction = self._transactions.current
        if transaction is None or self._baselines is None:
            return
        try:
            found = self._baselines.read(transaction)
        except ProtocolError as error:
            letter = dead_letters.of_message(transaction.begin, data, str(error))
            # By which the command finds it.
            self._sink.add_letter(letter._replace(origin={"xid": transaction.xid}))
            return
        if found is not None:
            known = self._decoder.relations.get(found.relation.oid)
            for change, row in found.changes(self._stitcher, known):
                self._rows.add([change], row)

    def _begin(self, begin: Begin) -> None:
        if self._stitcher.begin is begin:
            self._transactions.begin(begin)
        else:
            # Its rows must not be taken for rows of the transaction before.
            self._stitcher.begin = self._transactions.current = None

    def _take_outline(self, data: bytes, lsn: int, reason: str) -> None:
        """Record that there was a change, if so much is known, and keep the message."""
        begin = self._stitcher.begin
        outline = self._decoder.outline(data)
        if not self._transactions.is_recording:
            return
        if begin is None or not isinstance(outline, RowMessage):
            letter = dead_letters.of_message(begin, data, reason)
            self._sink.add_letter(letter.withheld() if self._may_hold_masked(data) else letter)
            return
        relation = outline.relation
        # Which other tables' contexts it has, cannot be asked safely.
        change = stitch(self._stitcher.claim(relation, lsn, frozenset([relation.oid])), outline)
        self._rows.add_outline(change, data, reason)

    def _may_hold_masked(self, data: bytes) -> bool:
        """Return whether a message that cannot be read is one of a table with masked columns."""
        try:
            return data[:1] in _ROWS and self._has_masks(int.from_bytes(data[OID_AT:MARK_AT], "big"))
        except Exception as error:
            self._shortages.raise_unless_of_message(error, data)
            return True

    def _take_oversize(self, data: bytes, lsn: int) -> None:
        """Take a message of many megabytes while no batch is on its way, so that memory holds one of them."""
        self._sink.settle()
        try:
            message, reasons = read_oversize(data, self._decoder.relations.get)
            changes = self._stitcher.feed(message, lsn)
        except Exception as error:
            self._shortages.raise_unless_of_message(error, data)
            self._take_outline(data, lsn, error_advice.reason_of_message(error))
            return
        self._rows.add(changes, data, "; ".join(reasons))
        # The next message must not be read while this one is held.
        self._sink.settle()
