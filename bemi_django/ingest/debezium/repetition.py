"""Tell events that the connector sends again within a transaction, because it was restarted."""

from __future__ import annotations

from hashlib import blake2b

from bemi_django.ingest.debezium.reading.envelope import CREATE, LogicalMessage, RowEvent


class Repetitions:
    """Follows the events of one transaction, which lie in the WAL in their order.

    Several events may lie at one place: the rows of a COPY, the tables of a TRUNCATE, the two events of an
    update that changes a key.
    """

    def __init__(self) -> None:
        self._lsn = -1
        self._first: RowEvent | LogicalMessage | None = None
        #: The events at this place, with the number of each among them.
        self._here: dict[bytes, int] = {}
        self._count = self._to_skip = 0

    def begin_anew(self) -> None:
        """Note that the transaction is sent again: others came in between."""
        self._to_skip = self._count

    def has(self, event: RowEvent | LogicalMessage, *, is_keyed: bool) -> bool:
        """Return whether the event was sent before; note it if not.

        Args:
            event: The event.
            is_keyed: Whether two rows of its table cannot be the same.
        """
        lsn = event.place.lsn
        if lsn < self._lsn:
            self._to_skip = self._count
            return True
        if lsn > self._lsn:
            self._lsn, self._first, self._here = lsn, event, {}
            self._count, self._to_skip = 1, 0
            return False
        if self._to_skip:
            self._to_skip -= 1
            return True
        if self._first is not None:
            self._here[_fingerprint(self._first)] = 1
            self._first = None
        fingerprint = _fingerprint(event)
        is_copied = isinstance(event, RowEvent) and event.operation == CREATE and not is_keyed
        if fingerprint in self._here and not is_copied:
            # Those that came after it come again as well.
            self._to_skip = self._count - self._here[fingerprint]
            return True
        self._count += 1
        self._here[fingerprint] = self._count
        return False


def _fingerprint(event: RowEvent | LogicalMessage) -> bytes:
    said = event[1:6] if isinstance(event, RowEvent) else event[1:]
    return blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=16).digest()
