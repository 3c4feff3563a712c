"""The identity of a row through time: which changes are of one row, under all keys that it had.

A row is followed through the changes of its key, in both directions. A key that another row had before, or
took afterwards, is only followed for the time in which the row had it. A row that is deleted and inserted
again with the same key, for example by a revert, is the same row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from bemi_django.log.lossless_json import dumps


class RowLog(Protocol):
    """The changes of a table, by Django or SQLAlchemy."""

    def moves(self, key: str) -> Sequence[Any]:
        """Return the changes by which a row came to a key or left it, the newest first, unless diverged."""

    def is_used_after(self, key: str, change_id: UUID) -> bool:
        """Return whether a later change is of a row with this key."""

    def between(self, key: str, start: UUID, end: UUID) -> Sequence[Any]:
        """Return the changes between two, the oldest first, that rows with this key have kept it in."""


class KeySpan(NamedTuple):
    """A key, and the ids of changes between which the row had it: from ``start`` on, and before ``end``.

    ``is_open``: the change ``start`` itself is not of the row. ``others`` are changes of other rows.
    """

    key: str
    start: UUID | None = None
    end: UUID | None = None
    is_open: bool = False
    others: tuple[UUID, ...] = ()


def key_spans(log: RowLog, key: str) -> Iterator[KeySpan]:
    """Yield the keys of the row that has a key now, or had it last; the newest first.

    Args:
        log: All changes of the table.
        key: A primary key, as the log stores it.
    """
    return spans_of_last(log, _present_key(log, key))


def spans_of_last(log: RowLog, key: str) -> Iterator[KeySpan]:
    """Do the same for the row that has the key at the end of the log, whoever has had it before."""
    later: Any = None
    while True:
        span, arrival = _span(log, key, later)
        yield span
        if arrival is None:
            return
        key, later = arrival.previous_primary_key, arrival


def _present_key(log: RowLog, key: str) -> str:
    """Follow a row forward to the key that it has now."""
    since: Any = None
    while True:
        moves = [move for move in log.moves(key) if since is None or move.id > since.id]
        leaving = (one for one in moves if one.previous_primary_key == key)
        left = next((one for one in leaving if _is_move(log, one, moves)), None)
        if left is None or log.is_used_after(key, left.id):
            return key
        since, key = left, left.primary_key


def _span(log: RowLog, key: str, later: Any) -> tuple[KeySpan, Any]:
    """Return the span that ends with the move ``later``, and the move with which the row came to the key."""
    end = later.id if later is not None else None
    others: list[UUID] = []
    moves = log.moves(key)
    for move in moves:
        if end is not None and move.id >= end:
            continue
        if move.primary_key == key:
            if later is not None and _overlap(log, move, later):
                others.append(move.id)
                continue
            return KeySpan(key, move.id, end, others=tuple(others)), move
        if _is_move(log, move, moves):
            # Another row had the key before.
            return KeySpan(key, move.id, end, is_open=True, others=tuple(others)), None
    return KeySpan(key, None, end, others=tuple(others)), None


def _is_move(log: RowLog, left: Any, moves: Sequence[Any]) -> bool:
    """Tell whether a row that leaves a key is the last one that came to it."""
    return not any(
        came.primary_key == left.previous_primary_key and came.id < left.id and _overlap(log, came, left)
        for came in moves
    )


def _overlap(log: RowLog, came: Any, left: Any) -> bool:
    """Tell whether two rows have a key at the same time: deferred keys are exchanged in a transaction."""
    row, wanted = dumps(came.after), dumps(left.before)
    if came.position != left.position or row == wanted:
        return False
    # The same row may have been changed in between, or deleted and inserted again.
    for change in log.between(came.primary_key, came.id, left.id):
        if dumps(change.before) == row:
            row = dumps(change.after)
    return row != wanted
