"""What is known of the transaction of the last event, and where goes what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bemi_django.ingest.debezium.printing.row_messages import ReadRow
from bemi_django.ingest.debezium.reading.envelope import EventPlace
from bemi_django.ingest.debezium.repetition import Repetitions
from bemi_django.ingest.protocol.messages import Begin


class Refusal(NamedTuple):
    """A record that cannot be taken, or not with all of its values; ``table`` is its oid, if it is known."""

    data: bytes
    reason: str
    table: int | None = None


class Outlets(NamedTuple):
    """Where the messages go: ``take`` has the LSN as well; ``read`` takes rows of a snapshot before it."""

    take: Callable[[bytes, int], object]
    read: Callable[[ReadRow], object]
    refuse: Callable[[Refusal], object]


class Followed:
    """A transaction; of one without ``begin``, nothing is written.

    ``number`` and ``lsn`` are those of its first record.
    """

    def __init__(self, place: EventPlace, number: int, begin: Begin | None = None, reason: str = "") -> None:
        self.place, self.number, self.begin, self.reason = place, number, begin, reason
        self.lsn = place.lsn
        self.repetitions = Repetitions()
        self.is_over = False

    def has(self, place: EventPlace) -> bool:
        """Return whether an event is one of the transaction, also if offsets were lost within it."""
        own = self.place
        return own.xid == place.xid and (
            own.previous == place.previous or own.committed_at == place.committed_at
        )
