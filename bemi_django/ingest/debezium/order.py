"""Give each transaction its position, and tell those that the log has from those that come next.

The connector does not send where a transaction commits, but where the one before it has ended: that is the
same in all of its events, however often they are sent, and greater than for any transaction before it. The
position of a transaction is the next multiple of 8 bytes, in which no other one can commit.

A connector that has lost its offsets does not know it for its first transaction. That one is known again by
its commit time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.debezium.reading.envelope import EventPlace
from bemi_django.wire.lsn import format_lsn

#: Bytes of WAL that every record takes at least: records begin at multiples of it.
STEP = 8
#: Microseconds by which commit times may not be in the order of commits.
_INVERTED = 1_000_000
#: Transactions of this session that are known again.
_REMEMBERED = 200_000


class Uncertain(Exception):
    """Nobody can tell whether the log has a transaction."""


_LOST = "the connector has lost its offsets, and the log may have this transaction already"
_GONE_BACK = (
    "the transaction was committed after the last one of the log, and lies before it: the WAL of the source "
    "has gone back, by a promotion or a restore"
)
_BEHEADED = "the first records of the transaction are missing, and the log has a part of it"


class RecordedEnd(NamedTuple):
    """Where the log ends: the position of the next or open transaction, and the commit time of the last one.

    ``is_open`` tells whether the log has a part of the transaction, and ``start`` is where the log begins.
    """

    position: int
    committed_at: int | None
    is_open: bool
    start: int = 0


def require_database(place: EventPlace, names: Collection[str]) -> None:
    """Check that an event is one of the source.

    Raises:
        ReplicationError: It is one of another database.
    """
    if place.database not in names:
        raise ReplicationError(
            f"a record of the database {place.database}: this consumer writes the log of "
            f"{' or '.join(sorted(names))}; give each connector a stream or subject of its own"
        )


def start_before(place: EventPlace) -> int:
    """Return where a log begins whose first event this is: before its transaction."""
    # Of a message that belongs to no transaction, both positions are the same.
    return min(place.lsn if place.previous is None else place.previous, place.lsn - STEP) & -STEP


class CommitOrder:
    """Follows the transactions of one session.

    Args:
        end: Where the log ends.
        first_lsn: Where the first event lies of the transaction that the log has a part of; 0 if not known.
        first_number: The number of its message in the stream; 0 if not known.
    """

    def __init__(self, end: RecordedEnd, first_lsn: int = 0, first_number: int = 0) -> None:
        self._end = end
        self._first_lsn = first_lsn
        self.first_number = first_number
        #: Where the last transaction is that was not a repetition.
        self.position = 0
        #: Where the transaction before has ended, as far as it is known.
        self.ended_at = 0
        self._seen: OrderedDict[tuple[int | None, int], None] = OrderedDict()

    def position_of(self, place: EventPlace, number: int = 0) -> int | None:
        """Return the position of a transaction that begins; None for one that the log has.

        Args:
            place: Where its first event is.
            number: The number of the message in the stream, 0 in a file.

        Raises:
            Uncertain: Nobody can tell.
            ReplicationError: The records are not in the order in which they were written.
        """
        if (place.xid, place.committed_at) in self._seen:
            return None
        if place.previous is None:
            position = self._position_of_first(place)
        else:
            position = self._position_after(place, place.previous)
        is_first = place.lsn == self._first_lsn > 0 or number == self.first_number > 0
        if position is None and self._end.is_open and is_first:
            # What stood before it, and is not read again, has moved its position.
            position = self._end.position
        if position is not None:
            self._require_beginning(place, position, number)
            self.position = position
            self._first_lsn = self.first_number = 0
        self._seen[place.xid, place.committed_at] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return position

    def has_message(self, lsn: int) -> bool:
        """Return whether a message that belongs to no transaction was taken before; note it if not."""
        if lsn < self._end.position or lsn <= self.position:
            return True
        self.position = lsn
        return False

    def _position_after(self, place: EventPlace, previous: int) -> int | None:
        end = self._end
        # The rows of an incremental snapshot have no transaction of their own: they lie before the next one.
        position = previous & -STEP if place.is_incremental else (previous | STEP - 1) + 1
        if position < end.position:
            is_later = end.committed_at is not None and place.committed_at > end.committed_at + _INVERTED
            if is_later and not place.is_incremental:
                raise Uncertain(_GONE_BACK)
            return None
        if position < self.position and not place.is_incremental:
            raise ReplicationError(
                f"the transaction after {format_lsn(previous)} comes after later ones, and not again: give "
                "all records in the order in which they were written"
            )
        return max(position, self.position + STEP, self.ended_at)

    def _position_of_first(self, place: EventPlace) -> int | None:
        end = self._end
        position = max(place.lsn & -STEP, self.position + STEP)
        if start_before(place) == end.start:
            # The first one of the log.
            return None if position < end.position else position
        if end.committed_at is None or place.committed_at > end.committed_at:
            return max(position, end.position + STEP * end.is_open)
        if place.committed_at == end.committed_at and end.is_open:
            return end.position
        if place.lsn >= end.position and not end.is_open:
            return position
        if place.committed_at > end.committed_at - _INVERTED and place.committed_at != end.committed_at:
            raise Uncertain(_LOST)
        return None

    def _require_beginning(self, place: EventPlace, position: int, number: int) -> None:
        """Check that a transaction of which the log has a part is read from its beginning."""
        end = self._end
        if not end.is_open or position != end.position:
            return
        if number and self.first_number not in (0, number):
            raise Uncertain(_BEHEADED)
        if self._first_lsn not in (0, place.lsn):
            raise ReplicationError(
                f"the records begin within the transaction {place.xid}: give the file where it begins "
                "as well, before this one"
            )
