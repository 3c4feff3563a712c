"""Many changes of a row to the net effect of them: what it was, what it became, column by column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bemi_django.log.live_tables import RowValues
from bemi_django.log.lossless_json import dumps

if TYPE_CHECKING:
    from bemi_django.log.change import Change


@dataclass(eq=False)
class Net:
    """The selected changes of one row, as one.

    ``old`` and ``new`` are the values of the columns that the selection touched, before its first change
    of each and after its last one. ``torn`` are columns that others changed in between.
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
    torn: set[str] = field(default_factory=set)
    is_torn: bool = False

    @property
    def primary_key(self) -> str | None:
        """The key that the row has after the selection, or had before it was deleted."""
        return self.changes[-1].primary_key

    def add(self, change: Change, before: RowValues | None, after: RowValues | None, lost: set[str]) -> None:
        """Take one more change of the row; ``lost`` are columns whose values before it are not known."""
        if self.changes and self.exists != (before is not None):
            # Others deleted it, or made it anew.
            self.is_torn = True
        self.changes.append(change)
        if after is None:
            self.unknown |= lost - self.old.keys()
        self._touch(before, after)
        self.exists = after is not None
        self.last = after if after is not None else before or {}

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
                    self.torn.add(column)
                if column not in self.unknown:
                    self.old.setdefault(column, before[column])
            if after is not None:
                self.new[column] = after[column]


def differ(one: Any, other: Any) -> bool:
    """Whether two values are not the same to the last digit."""
    return one is not other and dumps(one) != dumps(other)


def nets_of(changes: Iterable[Change], renamed: Mapping[tuple[str, str], Mapping[str, str]]) -> list[Net]:
    """The net effects of changes of rows, given in commit order, in the order of their first changes.

    ``renamed``: ``{(schema, table): {old: new}}``, the columns that have another name now.
    """
    found: list[Net] = []
    waiting: dict[Any, list[Net]] = defaultdict(list)
    for change in changes:
        names = renamed.get((change.schema, change.table), {})
        before = None if change.operation == "CREATE" else _renamed(change.before, names)
        after = None if change.operation == "DELETE" else _renamed(change.after, names)
        same = waiting[_handle(change, change.previous_primary_key or change.primary_key, before)]
        if same:
            net = same.pop()
        else:
            known = before if before is not None else after or {}
            table = change.schema, change.table
            net = Net(*table, [], before is not None, after is not None, known, known)
            found.append(net)
        lost = (change.unavailable or {}).get("before", ())
        net.add(change, before, after, {names.get(column, column) for column in lost})
        waiting[_handle(change, change.primary_key, after)].append(net)
    return found


def _handle(change: Change, key: str | None, row: RowValues | None) -> tuple[Any, ...]:
    """What a row is known by to the next change of it: without a key by all that it holds."""
    if key is not None:
        return change.schema, change.table, key
    # A row that is not there is nobody's.
    return change.schema, change.table, None, change.pk if row is None else dumps(row)


def _renamed(row: RowValues, names: Mapping[str, str]) -> RowValues:
    return {names.get(column, column): value for column, value in row.items()} if names else row
