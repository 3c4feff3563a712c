"""Number the changes and transactions of one source in the log."""

from __future__ import annotations

from collections.abc import Sequence

from bemi_django.ingest.protocol.messages import Begin
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched
from bemi_django.wire.ids import change_id, source_of
from bemi_django.wire.sequence import FIRST_HISTORY, HistoryStart, sequence_at


class ChangeIds:
    """Makes the ids of changes, and those of transactions.

    Args:
        system_identifier: The server's identifier from ``pg_control_system()``.
        database: The name of the source.
        xid: A recent transaction id of 64 bits, to complete those of the protocol, which have 32.
    """

    def __init__(self, system_identifier: str, database: str, xid: int) -> None:
        self.source = source_of(system_identifier, database)
        self._xid = xid
        #: The histories of the log, the oldest first.
        self.histories: Sequence[HistoryStart] = (FIRST_HISTORY,)

    def sequence_of(self, begin: Begin) -> int:
        """Return the sequence number of a transaction's changes."""
        return sequence_at(self.histories, begin.commit_lsn)

    def of_change(self, change: ChangeHeader | Stitched) -> bytes:
        """Return the id that the change's row has, 16 bytes."""
        return change_id(self.sequence_of(change.begin), change.ordinal, self.source)

    def full_xid(self, xid: int) -> int:
        """Return the transaction id of 64 bits that is nearest to the last one and has these low 32 bits."""
        if not xid:  # of no transaction
            return 0
        distance = (xid - self._xid) & 0xFFFFFFFF
        full = self._xid + (distance if distance < 1 << 31 else distance - (1 << 32))
        self._xid = max(self._xid, full)
        return full
