"""Rows that an UPDATE has moved to another partition: PostgreSQL deletes them there and inserts them here."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from bemi_django.log.lossless_json import dumps
from bemi_django.log.object_changes import TableLog

# From the id of a change to that of the next one in its transaction.
_NEXT = 1 << 30
_MOVES = ("CREATE", "DELETE")


class PartitionMove(NamedTuple):
    """A change of a key, with the values before and after it; it has the id of what was inserted."""

    id: UUID
    primary_key: str
    previous_primary_key: str
    position: int
    before: Any
    after: Any


class MovedRows(NamedTuple):
    """All changes of a table, in which rows are followed from partition to partition, too.

    Attributes:
        log: The changes.
        key: The columns of the key.
    """

    log: TableLog
    key: tuple[str, ...]

    def moves(self, key: str) -> list[Any]:
        """Return the changes by which a row came to a key or left it, the newest first, unless diverged."""
        ends = self._changes.filter(primary_key=key, partition__isnull=False)
        found = {move.id: move for move in map(self._move, ends.order_by("id")) if move is not None}
        moves = {move.id: move for move in [*found.values(), *self.log.moves(key)]}
        return sorted(moves.values(), key=lambda move: move.id, reverse=True)

    def is_used_after(self, key: str, change_id: UUID) -> bool:
        """Return whether a later change is of a row with this key."""
        return self.log.is_used_after(key, change_id)

    def between(self, key: str, start: UUID, end: UUID) -> list[Any]:
        """Return the changes between two, the oldest first, that rows with this key have kept it in."""
        return self.log.between(key, start, end)

    @property
    def _changes(self) -> Any:
        return self.log.changes.filter(operation__in=_MOVES, diverged=False)

    def _move(self, change: Any) -> PartitionMove | None:
        is_gone = change.operation == "DELETE"
        beside = UUID(int=change.pk.int + (_NEXT if is_gone else -_NEXT))
        other = self._changes.filter(pk=beside).exclude(partition__in=[change.partition]).first()
        if other is None or other.operation == change.operation:
            return None
        old, new = (change, other) if is_gone else (other, change)
        if old.partition is None or new.partition is None or not self._is_same_row(old, new):
            return None
        key, former = new.primary_key, old.primary_key
        return (
            PartitionMove(new.pk, key, former, new.position, old.before, new.after) if key != former else None
        )

    def _is_same_row(self, old: Any, new: Any) -> bool:
        """Tell whether one statement has deleted a row and inserted one that differs in its key only."""
        if (old.position, dumps(old.context)) != (new.position, dumps(new.context)):
            return False
        before, after = old.before, new.after
        alike = [name for name in before if name in after and dumps(before[name]) == dumps(after[name])]
        is_rest_alike = {*before, *after} - {*self.key} <= {*alike}
        return is_rest_alike and any(before[name] is not None for name in alike)
