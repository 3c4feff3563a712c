"""Translate the records of Debezium into the messages that the stream of a slot would have.

So everything behind it is the same: contexts are stitched to rows, values are rendered, masked and encrypted,
and what cannot be stored becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Collection

from bemi_django.ingest.debezium.followed import Followed, Outlets, Refusal
from bemi_django.ingest.debezium.order import STEP, CommitOrder, Uncertain, require_database
from bemi_django.ingest.debezium.printing import pgoutput
from bemi_django.ingest.debezium.printing.row_messages import RowMessages
from bemi_django.ingest.debezium.reading.envelope import (
    CREATE,
    DELETE,
    READ,
    EventPlace,
    LogicalMessage,
    RowEvent,
    TransactionEnd,
    event_of,
    place_of,
)
from bemi_django.ingest.debezium.reading.record import Record, UnreadableRecord
from bemi_django.ingest.protocol.messages import Begin

#: The schema of our own objects, which have no history.
_OWN_SCHEMA = "_bemi"
#: The prefix of the messages that say that rows were read.
BASELINE_PREFIX = "_bemi_baseline"
_DDL = "_bemi_ddl"
_READ_MESSAGE = pgoutput.message(0, BASELINE_PREFIX.encode(), b"", is_transactional=True)
_NO_BASELINE = "'bemi baseline' needs the slot of 'bemi run': snapshots of the connector take its place"


class Translator:
    """Feed it every record, in their order.

    Args:
        names: The names that records may have for the source.
        log: Schema and name of the log, if it is in the source.
        order: Gives transactions their positions.
        rows: Writes the messages of rows.
        outlets: Where they go.
        binaries: How the connector writes bytes.
    """

    def __init__(
        self,
        names: Collection[str],
        log: tuple[str, str] | None,
        order: CommitOrder,
        rows: RowMessages,
        outlets: Outlets,
        binaries: str = "bytes",
    ) -> None:
        self._binaries = binaries
        self._names = names
        self._log = log
        self._order = order
        self._rows = rows
        self._outlets = outlets
        self._open: Followed | None = None
        #: The transaction of the last event, if it is left out.
        self._left_out: Followed | None = None
        self._held: tuple[RowEvent, bytes] | None = None
        #: Events that were left out because they had been sent before.
        self.repeated = 0

    @property
    def open(self) -> Followed | None:
        """The transaction that is not over; None if there is none."""
        return None if self._open is None or self._open.is_over else self._open

    def take(self, record: Record) -> None:
        """Take a record.

        Raises:
            ReplicationError: It is one of another database, or out of order.
        """
        try:
            place = place_of(record)
            if place is not None:
                require_database(place, self._names)
                if place.xid is not None:
                    self._follow(place, record.number)
            event = event_of(record, place, self._binaries)
        except UnreadableRecord as error:
            self.refuse(record.data, str(error))
            return
        if isinstance(event, TransactionEnd):
            if self._open is not None and self._open.place.xid == event.xid and self._left_out is None:
                self._close(event.lsn & -STEP)
        elif isinstance(event, LogicalMessage):
            self._take_message(event, record.data)
        elif isinstance(event, RowEvent):
            self._take_row(event, record.data)
        elif place is None and record.value is not None:
            # A heartbeat, which never stands between the two events of an update.
            self._release()

    def refuse(self, data: bytes, reason: str) -> None:
        """Keep a record that cannot be taken, unless it stands among those that were sent before."""
        if self._left_out is None or self._left_out.reason:
            self._outlets.refuse(Refusal(data, reason))

    @property
    def is_holding(self) -> bool:
        """Whether a deletion waits for the next record, which tells if both are the update of a key."""
        return self._held is not None

    def finish(self) -> None:
        """End the open transaction: no more records will come."""
        self._close(None)

    def forget_numbers(self) -> None:
        """Forget the number of the message of which the log has a part: the stream was made anew."""
        self._order.first_number = 0

    def _release(self) -> None:
        if self._held is not None:
            (event, data), self._held = self._held, None
            self._write(event, data)

    def _follow(self, place: EventPlace, number: int) -> None:
        """Begin the transaction of an event, and end the one before, if it is another one."""
        opened = self._open
        if opened is not None and not opened.is_over and (opened.has(place) or place.is_incremental):
            if self._left_out is not None and not place.is_incremental:
                opened.repetitions.begin_anew()
            self._left_out = None
            return
        if self._left_out is not None and self._left_out.has(place):
            return
        try:
            position = self._order.position_of(place, number)
        except Uncertain as error:
            self._left_out = Followed(place, number, reason=str(error))
            return
        if position is None:
            self._left_out = Followed(place, number)
            return
        self._close(place.previous)
        assert place.xid is not None
        begin = Begin(position, place.committed_at, place.xid)
        self._outlets.take(pgoutput.begin(begin), 0)
        self._open, self._left_out = Followed(place, number, begin), None

    def _close(self, end: int | None) -> None:
        """End the open transaction.

        Args:
            end: Where it ends in the WAL, in bytes, if that is known.
        """
        self._release()
        opened = self._open
        if opened is not None and opened.begin is not None and not opened.is_over:
            opened.is_over = True
            self._order.ended_at = end_lsn = max(end or 0, opened.begin.commit_lsn + STEP)
            self._outlets.take(pgoutput.commit(opened.begin, end_lsn), 0)

    def _take_message(self, event: LogicalMessage, data: bytes) -> None:
        place, prefix = event.place, event.prefix
        if place.xid is not None:
            if not self._is_new(event, data):
                return
            self._release()
        elif self._order.has_message(place.lsn):
            self.repeated += 1
            return
        else:
            # It is sent at once, and so never within a transaction.
            self._close(place.lsn & -STEP)
        if prefix == BASELINE_PREFIX:
            self.refuse(data, _NO_BASELINE)
            return
        message = pgoutput.message(
            place.lsn, prefix.encode(), event.content, is_transactional=place.xid is not None
        )
        self._outlets.take(message, place.lsn)
        if prefix == _DDL:
            self._rows.forget()

    def _take_row(self, event: RowEvent, data: bytes) -> None:
        if event.place.xid is None:
            self.refuse(data, "a row that belongs to no transaction")
            return
        if event.schema == _OWN_SCHEMA or (event.schema, event.table) == self._log:
            return
        if not self._is_new(event, data):
            return
        if self._held is not None and _are_update(self._held[0], event):
            (old, _), self._held = self._held, None
            self._write(event, data, old)
            return
        self._release()
        if event.operation == DELETE:
            self._held = event, data
        else:
            self._write(event, data)

    def _is_new(self, event: RowEvent | LogicalMessage, data: bytes) -> bool:
        """Return whether an event is to be written: its transaction is, and it was not sent before."""
        if self._left_out is not None:
            if self._left_out.reason:
                self._outlets.refuse(Refusal(data, self._left_out.reason))
            else:
                self.repeated += 1
            return False
        assert self._open is not None
        if isinstance(event, RowEvent):
            if event.operation == READ or event.place.is_incremental:
                return True
            is_keyed = self._rows.is_keyed(event)
        else:
            is_keyed = True
        is_repeated = self._open.repetitions.has(event, is_keyed=is_keyed)
        self.repeated += is_repeated
        return not is_repeated

    def _write(self, event: RowEvent, data: bytes, old: RowEvent | None = None) -> None:
        lsn, rows, outlets = event.place.lsn, self._rows, self._outlets
        try:
            if event.operation == READ:
                outlets.read(rows.read(event))
                messages = [_READ_MESSAGE]
            else:
                messages = list(rows.of(event, old))
        except ValueError:
            outlets.refuse(Refusal(data, "a name that is not text"))
            return
        if rows.reasons:
            outlets.refuse(Refusal(data, "; ".join(rows.reasons), rows.oid(event)))
        for message in messages:
            outlets.take(message, lsn)


def _are_update(old: RowEvent, new: RowEvent) -> bool:
    """Return whether a deletion and an insertion are the update of a key: they lie at one place."""
    return (
        new.operation == CREATE
        and old.place.lsn == new.place.lsn
        and (old.schema, old.table) == (new.schema, new.table)
    )
