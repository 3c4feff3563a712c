"""Ask the source's server about transactions, which it sends a moment before it shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_SHOWS = "SELECT pg_visible_in_snapshot(%s::text::xid8, pg_current_snapshot())"
# Before the server shows a transaction, nobody knows what it has described.
_HAS_DESCRIBED = """
SELECT CASE WHEN pg_visible_in_snapshot(t.xid, pg_current_snapshot()) THEN EXISTS (
    SELECT FROM _bemi.relations k
    WHERE k.since_xid = t.xid AND k.system = (pg_control_system()).system_identifier) END
FROM (SELECT %s::text::xid8) t (xid)
"""


class ShownTransactions:
    """Tells what the source shows of transactions.

    Args:
        rows: Returns the rows of a query on the source.
    """

    def __init__(self, rows: Callable[[str, list[Any]], list[tuple[Any, ...]]]) -> None:
        self._rows = rows

    def shows(self, xid: int) -> bool:
        """Return whether a transaction is visible."""
        return bool(self._rows(_SHOWS, [str(xid)])[0][0])

    def has_described(self, xid: int) -> bool | None:
        """Return whether a transaction has described tables; None while it is not visible."""
        found: bool | None = self._rows(_HAS_DESCRIBED, [str(xid)])[0][0]
        return found
