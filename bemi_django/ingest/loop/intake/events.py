"""Take the messages by which applications say what has happened: each becomes a change of its own."""

from __future__ import annotations

import time

from bemi_django.ingest import error_advice
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.pipeline import Sink
from bemi_django.ingest.protocol.messages import Begin, Commit, Message, Relation
from bemi_django.ingest.rows.row_writer import EPOCH_SECONDS
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.stitching.event_message import Event, EventReader, stated_at
from bemi_django.ingest.stitching.operations import EVENT
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.ingest.stitching.stitcher import Stitcher
from bemi_django.wire import EVENT_PREFIX

#: The prefix of the messages.
PREFIX = EVENT_PREFIX.encode()
#: Bytes of WAL that every message takes at least: records begin at multiples of it.
_STEP = 8
#: Microseconds before the present at which an event may have happened if no commit says when.
_PAST = 31 * 86_400 * 1_000_000
_REASON = "the event is not valid"


class Events:
    """Writes events in the place where they stand in the stream.

    One that belongs to a transaction is one of its changes. One that does not is as a transaction that
    commits where the message lies, where no other does.

    Args:
        stitcher: Numbers the changes of a transaction.
        transactions: Follows the transactions of the stream.
        repairer: Writes the rows.
        sink: Takes them.
        shortages: Counts the failures of all sessions.
        reader: Reads the messages.
    """

    def __init__(
        self,
        stitcher: Stitcher,
        transactions: Transactions,
        repairer: Repairer,
        sink: Sink,
        shortages: Shortages,
        reader: EventReader,
    ) -> None:
        self._stitcher = stitcher
        self._transactions = transactions
        self._repairer = repairer
        self._sink = sink
        self._shortages = shortages
        self._reader = reader

    def take(self, message: Message, data: bytes) -> None:
        """Take one message.

        Args:
            message: The message.
            data: Its bytes.

        Raises:
            psycopg2.Error: One of the databases failed.
            BemiError: An administrator has to do something.
        """
        try:
            alone = self._alone(message) if self._transactions.current is None else None
            begin = alone or self._stitcher.begin
            event = self._reader.read(message.content, begin.committed_at if begin else 0)
        except Exception as error:
            self._shortages.raise_unless_of_message(error, data)
            self._keep(data, error_advice.reason_of_message(error), is_unread=True)
            return
        if alone is not None:
            self._stitcher.feed(alone)
            self._transactions.begin(alone)
        self._add(event, data)
        if alone is not None:
            end = Commit(alone.commit_lsn, alone.commit_lsn + _STEP)
            self._stitcher.feed(end)
            self._transactions.end(end)

    def _alone(self, message: Message) -> Begin:
        if message.is_transactional:
            raise ValueError("an event of a transaction that could not be read")
        now = time.time_ns() // 1000 - EPOCH_SECONDS * 1_000_000
        earliest = self._transactions.latest
        if earliest is None:
            earliest = now - _PAST
        stated = stated_at(message.content)
        # It can be anything: only between the commit before and the present it is believed.
        begin = Begin(message.lsn, max(earliest, min(now if stated is None else stated, now)), 0)
        self._transactions.require_plausible(begin)
        return begin

    def _add(self, event: Event, data: bytes) -> None:
        transaction = self._transactions.current
        if transaction is None or self._stitcher.begin is None:
            self._keep(data, "an event of a transaction that could not be read")
            return
        relation = Relation(0, event.schema, event.table, ())
        header = self._stitcher.claim(relation, 0, frozenset())._replace(context=event.context)
        if transaction.is_logged:
            return
        change = Stitched(header.begin, header.ordinal, relation, EVENT, None, None, event.context)
        row = self._repairer.row_of_event(change, event.key)
        self._sink.add(Pending(row, change, data))
        if event.is_invalid:
            self._keep(data, _REASON)

    def _keep(self, data: bytes, reason: str, *, is_unread: bool = False) -> None:
        if not self._transactions.is_recording:
            return
        letter = dead_letters.of_message(self._stitcher.begin, data, reason)
        may_hold = is_unread or self._reader.may_hold_masked(data)
        self._sink.add_letter(letter.withheld() if may_hold else letter)
