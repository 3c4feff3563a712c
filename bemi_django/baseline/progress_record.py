"""How far the baseline of a table has come, kept in the source, so that another run can continue it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

_BEGIN = """
INSERT INTO _bemi.baselines (relation, condition, sink, history, root) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (relation, condition, sink) DO UPDATE SET
    history = excluded.history, root = excluded.root, upto = NULL, rows = 0, recorded = 0, too_large = 0,
    started_at = excluded.started_at, ended_at = NULL, range_xid = NULL, range_from = NULL
WHERE %s OR baselines.history <> excluded.history OR baselines.root <> excluded.root
"""
_READ = """
SELECT upto, rows, recorded, too_large, ended_at IS NOT NULL, range_xid::text, low::text, snapshot::text
FROM _bemi.baselines WHERE relation = %s AND condition = %s AND sink = %s
"""
_OPEN = """
UPDATE _bemi.baselines SET
    range_from = upto, upto = %s, range_rows = %s, range_xid = pg_current_xact_id(), low = %s,
    snapshot = pg_current_snapshot(), description = %s, context = %s
WHERE relation = %s AND condition = %s AND sink = %s
"""
_PASS = """
UPDATE _bemi.baselines SET upto = %s, rows = rows + %s, too_large = too_large + %s
WHERE relation = %s AND condition = %s AND sink = %s
"""
_TAKEN = """
UPDATE _bemi.baselines SET rows = rows + range_rows, recorded = recorded + %s, range_xid = NULL
WHERE relation = %s AND condition = %s AND sink = %s
"""
_AGAIN = """
UPDATE _bemi.baselines SET upto = range_from, range_xid = NULL
WHERE relation = %s AND condition = %s AND sink = %s
"""
_END = """
UPDATE _bemi.baselines SET ended_at = clock_timestamp() WHERE relation = %s AND condition = %s AND sink = %s
"""
_KEYS = "SELECT coalesce(array_agg(key), '{}') FROM _bemi.baseline_rows WHERE xid = %s::text::xid8"
_CLEAR = "DELETE FROM _bemi.baseline_rows WHERE xid = %s::text::xid8"
_ABANDON = """
DELETE FROM _bemi.baseline_rows r WHERE NOT EXISTS (SELECT FROM _bemi.baselines b WHERE b.range_xid = r.xid)
"""


class OpenRange(NamedTuple):
    """A range on its way to the log: its transaction, the position before it, and its snapshot."""

    xid: str
    low: str
    snapshot: str


class BaselineProgress(NamedTuple):
    """How far a baseline has come.

    Attributes:
        upto: The place of the last row that was read; None before the first one.
        rows: The number of rows that were read.
        recorded: The number of those that had no change in the log, and were recorded.
        too_large: The number of rows that were left out because the server cannot print them.
        has_ended: Whether all rows were read.
        range: The range on its way, if there is one.
    """

    upto: list[str] | None
    rows: int
    recorded: int
    too_large: int
    has_ended: bool
    range: OpenRange | None


class ProgressRecord:
    """The record of one table.

    Args:
        cursor: A cursor of the source.
        relation: The oid of the table.
        condition: The condition on its rows; empty for all.
        history: The server and the position with which the history of the log begins.
        sink: The slot of the sink that gets the rows; empty for the log.
    """

    def __init__(self, cursor: Any, relation: int, condition: str, history: str, sink: str = "") -> None:
        self.history = history
        self._cursor = cursor
        self._of = [relation, condition, sink]

    def begin(self, root: Sequence[str], *, anew: bool) -> None:
        """Begin, or continue what has begun in the same history, unless it is to be done anew."""
        self._cursor.execute(_BEGIN, [*self._of, self.history, list(root), anew])
        self._cursor.execute(_ABANDON)

    def read(self) -> BaselineProgress:
        """Return how far it has come."""
        self._cursor.execute(_READ, self._of)
        upto, rows, recorded, too_large, has_ended, *opened = self._cursor.fetchone()
        range_ = None if opened[0] is None else OpenRange(*opened)
        return BaselineProgress(upto, rows, recorded, too_large, has_ended, range_)

    def open_range(
        self,
        upto: Sequence[str],
        rows: int,
        low: str,
        description: Mapping[str, Any],
        context: Mapping[str, Any],
    ) -> None:
        """Note, in the transaction that has read a range, that it is on its way."""
        texts = [orjson.dumps(value).decode() for value in (description, context)]
        self._cursor.execute(_OPEN, [list(upto), rows, low, *texts, *self._of])

    def pass_by(self, upto: Sequence[str], rows: int, too_large: int = 0) -> None:
        """Note that rows were read of which none is to be recorded."""
        self._cursor.execute(_PASS, [list(upto), rows, too_large, *self._of])

    def keys(self, range_: OpenRange) -> list[str]:
        """Return the keys of the rows of a range."""
        self._cursor.execute(_KEYS, [range_.xid])
        return list(self._cursor.fetchone()[0])

    def close_range(self, range_: OpenRange, recorded: int | None) -> None:
        """Note how many rows of a range were recorded; None if it has to be read again."""
        self._cursor.execute(_CLEAR, [range_.xid])
        if recorded is None:
            self._cursor.execute(_AGAIN, self._of)
        else:
            self._cursor.execute(_TAKEN, [recorded, *self._of])

    def end(self) -> None:
        """Note that all rows were read."""
        self._cursor.execute(_END, self._of)
