"""Wait until the source shows the transactions of records, and tell those that it never will."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from bemi_django.exceptions import ReplicationError

#: Seconds between two questions whether the source shows a transaction, and whether it still runs there.
_SHOWN, _LOOK = 0.02, 1.0
_HIDDEN = """
SELECT x FROM unnest(%s::bigint[]) x WHERE NOT pg_visible_in_snapshot(x::text::xid8, pg_current_snapshot())
"""
# Until a transaction is shown it has a lock of its own, also a prepared one. Standbys do not list it.
_NOT_RUNNING = """
SELECT x FROM unnest(%s::bigint[]) x
WHERE NOT pg_is_in_recovery() AND NOT EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'transactionid' AND transactionid = x::text::xid8::xid)
"""
_FOREIGN = (
    "the source does not have transaction {} of the records: they are of another server, or the source was "
    "restored from a backup that is older than they are"
)
_ADVICE = "; --accept-gap keeps their changes, and goes on"


class SourceTransactions:
    """Asks the source for its transactions, whose commits the connector sends a moment before it shows them.

    Args:
        connection: A connection to the source, in autocommit.
        keep_alive: Called while something is waited for; it returns False if the consumer is to stop.
        accept: Called once with the reason to go on with those that the source does not have. None does not
            go on.
    """

    def __init__(
        self, connection: Any, keep_alive: Callable[[], bool], accept: Callable[[str], None] | None
    ) -> None:
        self._connection = connection
        self._keep_alive = keep_alive
        self._accept = accept
        self._is_accepted = False
        self._look_at = 0.0

    def are_shown(self, xids: Collection[int]) -> bool:
        """Wait until all of them are shown; return False if the consumer is to stop before.

        Args:
            xids: Transaction ids of 64 bits.

        Raises:
            ReplicationError: The source never shows one of them.
        """
        left = set(xids)
        while left and (left := self._asked(_HIDDEN, left) - self._lacking(left)):
            if not self._keep_alive():
                return False
            time.sleep(_SHOWN)
        return True

    def is_awaited(self, xid: int) -> bool:
        """Return whether to go on waiting for one that is not shown.

        Raises:
            ReplicationError: The source never shows it.
        """
        return self._keep_alive() and not self._lacking({xid})

    def _lacking(self, xids: set[int]) -> set[int]:
        """Return those that the source does not have, though it may be another time."""
        now = time.monotonic()
        if now < self._look_at and self._accept is None:
            return set()
        self._look_at = now + _LOOK
        ended = self._asked(_NOT_RUNNING, xids)
        # One that was committed before that is shown now.
        lacking = self._asked(_HIDDEN, ended) if ended else ended
        if lacking and not self._is_accepted:
            reason = _FOREIGN.format(min(lacking))
            if self._accept is None:
                raise ReplicationError(reason + _ADVICE)
            self._accept(reason)
            self._is_accepted = True
        return lacking

    def _asked(self, query: str, xids: set[int]) -> set[int]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, [list(xids)])
            return {xid for (xid,) in cursor.fetchall()}
