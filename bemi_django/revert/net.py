"""Combine the changes of a row into their net effect: values before and after, column by column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bemi_django.encryption.decryption import DecryptedRows, decrypt, encrypted_columns
from bemi_django.log.live.column_names import ColumnNames
from bemi_django.log.live.live_tables import RowValues
from bemi_django.log.lossless_json import dumps, loads

if TYPE_CHECKING:
    from bemi_django.log.change import Change


@dataclass(eq=False)
class Net:
    """The net effect of the selected changes of one row.

    ``old`` and ``new`` have the columns that the selection changed, with the value before the first change
    and after the last one. ``torn`` are columns that others changed in between, with the values that one of
    the changes left and that the next one found. ``masked`` are columns of which the log has no value to
    write, only what a mask or an erasure has left of it; they are in no row here. ``ignored`` are columns
    that settings kept out of one of the changes. ``is_erased`` tells whether values of one of the changes
    were erased.
    """

    schema: str
    table: str
    changes: list[Change]
    existed: bool
    exists: bool
    first: RowValues
    last: RowValues
    old: RowValues = field(default_factory=dict)
    new: RowValues = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    masked: set[str] = field(default_factory=set)
    torn: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    is_torn: bool = False
    is_erased: bool = False

    @property
    def primary_key(self) -> str | None:
        """The key of the row after the selection, or before its deletion."""
        return self.changes[-1].primary_key

    def add(self, change: Change, before: RowValues | None, after: RowValues | None, lost: set[str]) -> None:
        """Add the next change of the row; ``lost`` are columns whose values before it are not known."""
        if self.changes and self.exists != (before is not None):
            # Others deleted it, or inserted it again.
            self.is_torn = True
        self.changes.append(change)
        if after is None:
            self.unknown |= lost - self.old.keys()
        self._touch(before, after)
        self.exists = after is not None
        self.last = after if after is not None else before or {}

    def give(self, values: RowValues) -> None:
        """Take values for masked columns of a deleted row."""
        if self.existed and not self.exists:
            given = {
                column: value for column, value in values.items() if column in self.unknown & self.masked
            }
            self.old.update(given)
            self.unknown -= given.keys()

    def _touch(self, before: RowValues | None, after: RowValues | None) -> None:
        if before is not None and after is not None:
            self.unknown |= (before.keys() ^ after.keys()) - self.old.keys()
            self.new.update({column: after[column] for column in after if column not in before})
            columns = [
                column for column in before if column in after and differ(before[column], after[column])
            ]
        else:
            columns = list(before if before is not None else after or {})
        for column in columns:
            if before is not None:
                if column in self.new and differ(self.new[column], before[column]):
                    self.torn.setdefault(column, []).append((self.new[column], before[column]))
                if column not in self.unknown:
                    self.old.setdefault(column, before[column])
            if after is not None:
                self.new[column] = after[column]


def differ(one: Any, other: Any) -> bool:
    """Tell whether two values differ, to the last digit."""
    return one is not other and dumps(one) != dumps(other)


def nets_of(changes: Iterable[Change], columns: Mapping[tuple[str, str], ColumnNames]) -> list[Net]:
    """Return the net effects of changes of rows, in the order of their first changes.

    Args:
        changes: Changes in commit order.
        columns: The names of the columns of each table.
    """
    found: list[Net] = []
    waiting: dict[Any, list[Net]] = defaultdict(list)
    selected = list(changes)
    shared = _shared_keys(selected)
    for change, rows in zip(selected, decrypt(selected, loads), strict=True):
        names = columns.get((change.schema, change.table), ColumnNames({})).of(change)
        old, new, hidden = _readable(change, rows)
        before = None if change.operation == "CREATE" else names.renamed(old)
        after = None if change.operation == "DELETE" else names.renamed(new)
        masked = set(map(names.now, hidden))
        before, after, changed = _without(before, after, masked)
        changed |= names.untold
        changed |= set(map(names.now, (change.unavailable or {}).get("changed", ())))
        handle = _handle(change, change.previous_primary_key or change.primary_key, before)
        same = waiting[handle]
        net = _last_of(same, change, before, is_shared=(*handle, change.position) in shared)
        if net is not None:
            same.remove(net)
        else:
            known = before if before is not None else after or {}
            table = change.schema, change.table
            net = Net(*table, [], before is not None, after is not None, known, known)
            found.append(net)
        lost = set(map(names.now, (change.unavailable or {}).get("before", ())))
        net.add(change, before, after, lost | masked)
        net.masked |= masked
        net.is_erased |= "erased" in (change.unavailable or {})
        net.unknown |= changed
        unknown = change.unavailable or {}
        net.ignored |= set(map(names.now, unknown.get("ignored", ())))
        waiting[_handle(change, change.primary_key, after)].append(net)
    return found


def _shared_keys(changes: Iterable[Change]) -> set[tuple[Any, ...]]:
    """Return the keys that rows may have had at once: one came to it, and one left it, in a transaction.

    Deferred keys are exchanged so.
    """
    came, left = set(), set()
    for change in changes:
        place, position = (change.schema, change.table), change.position
        is_moved = change.previous_primary_key is not None
        if change.operation == "CREATE" or is_moved:
            came.add((*place, change.primary_key, position))
        if change.operation == "DELETE" or is_moved:
            left.add((*place, change.previous_primary_key or change.primary_key, position))
    return came & left


def _last_of(nets: list[Net], change: Change, before: RowValues | None, *, is_shared: bool) -> Net | None:
    """Return which of the rows that had a key last is the one that is changed now, or None.

    Args:
        nets: The rows.
        change: What changes one of them.
        before: The row before it, or None.
        is_shared: Whether two rows may have the key at the time.
    """
    if is_shared:
        if fitting := [net for net in nets if _was_left_as(net, change, before)]:
            return fitting[-1]
        exists = before is not None
        nets = [net for net in nets if net.changes[-1].position != change.position and net.exists == exists]
    return nets[-1] if nets else None


def _was_left_as(net: Net, change: Change, before: RowValues | None) -> bool:
    """Tell whether a row was left in the same transaction as it is found now."""
    if net.changes[-1].position != change.position or net.exists != (before is not None):
        return False
    if before is None:
        return True
    return not any(differ(net.last[column], before[column]) for column in net.last.keys() & before.keys())


def _readable(change: Change, rows: DecryptedRows) -> tuple[RowValues, RowValues, set[str]]:
    """Return both rows of a change, and its masked columns but for those that could be decrypted."""
    lost = rows.erased | rows.unreadable
    before, after = (
        {column: stored[column] if column in lost else value for column, value in found.items()}
        for stored, found in ((change.before, rows.before), (change.after, rows.after))
    )
    return before, after, {*(change.unavailable or {}).get("masked", ())} - (encrypted_columns(change) - lost)


def _without(
    before: RowValues | None, after: RowValues | None, masked: set[str]
) -> tuple[RowValues | None, RowValues | None, set[str]]:
    """Return both rows without masked columns, and those of them in which what is stored differs."""
    if not masked:
        return before, after, set()
    old, new = (
        None if row is None else {column: value for column, value in row.items() if column not in masked}
        for row in (before, after)
    )
    changed: set[str] = set()
    if before is not None and after is not None:
        changed = {column for column in masked if differ(before.get(column), after.get(column))}
    return old, new, changed


def _handle(change: Change, key: str | None, row: RowValues | None) -> tuple[Any, ...]:
    """Return what links a change to the next one of the same row; without a key, the whole row."""
    if key is not None:
        return change.schema, change.table, key
    # No later change is of a deleted row.
    return change.schema, change.table, None, change.pk if row is None else dumps(row)
