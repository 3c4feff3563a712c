"""Rules that say which columns and which changes of a table are recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bemi_django.ingest.selection.condition import Condition
from bemi_django.ingest.selection.omissions import CONDITION, IGNORED, UNCHANGED, Omissions
from bemi_django.wire.name_pattern import ColumnPattern, TablePattern

Name = tuple[str, str]
#: Renders the values of a type as JSON.
Encoder = Callable[[bytes], bytes]


class TableSelection(NamedTuple):
    """What is left out of one table.

    Attributes:
        table: Schema and name under which its rows are recorded.
        ignored: Columns whose values are not recorded.
        drops_unchanged: Whether updates that change nothing are left out.
        conditions: Each must be met by a change that is recorded.
    """

    table: Name
    ignored: tuple[str, ...] = ()
    drops_unchanged: bool = False
    conditions: tuple[Condition, ...] = ()

    def encoder(self, column: str, encode: Encoder) -> Encoder | None:
        """Return what renders the values of a column, or None if they are not recorded.

        Args:
            column: The column.
            encode: What renders the values of its type.
        """
        return None if column in self.ignored else encode

    def omits(
        self,
        before: bytes,
        after: bytes,
        *,
        is_update: bool,
        is_unchanged: Callable[[], bool],
        is_masked_changed: Callable[[], bool],
        is_new: bool = True,
        omissions: Omissions,
        sequence: int,
    ) -> bool:
        """Return whether a change is left out, and remember what is.

        Args:
            before: The old row as JSON text, without ignored columns.
            after: The new row as JSON text, without ignored columns.
            is_update: Whether it is an UPDATE both of whose rows are known completely.
            is_unchanged: Tells whether the rows are equal in all columns.
            is_masked_changed: Tells whether the rows differ in columns whose values are masked.
            is_new: False if the change was to be recorded, and is only written again.
            omissions: What was left out of the transaction.
            sequence: The sequence number of the change.
        """
        reason = self._reason(before, after, is_update, is_unchanged, is_masked_changed) if is_new else ""
        if self.ignored:
            omissions.columns[(*self.table, self.ignored)] = sequence
        if reason:
            omissions.count(self.table, reason, sequence)
        return bool(reason)

    def _reason(
        self,
        before: bytes,
        after: bytes,
        is_update: bool,
        is_unchanged: Callable[[], bool],
        is_masked_changed: Callable[[], bool],
    ) -> str:
        if is_update and before == after and (self.ignored or self.drops_unchanged):
            if is_unchanged():
                if self.drops_unchanged:
                    return UNCHANGED
            elif self.ignored and not is_masked_changed():
                return IGNORED
        for condition in self.conditions:
            if not condition.is_met(self.table, before, after):
                return CONDITION
        return ""


class Selection(NamedTuple):
    """The rules of a project.

    Attributes:
        ignored: Patterns of columns whose values are not recorded.
        drops_unchanged: Whether updates that change nothing are left out, of all tables.
        conditions: Conditions with the pattern of the tables that they apply to.
    """

    ignored: Sequence[ColumnPattern] = ()
    drops_unchanged: bool = False
    conditions: Sequence[tuple[TablePattern, Condition]] = ()

    def of_table(
        self, root: Name, name: Name, columns: Sequence[str], key: Sequence[str]
    ) -> TableSelection | None:
        """Return what is left out of a table, or None if it is recorded as it is.

        Args:
            root: Schema and name under which its rows are recorded.
            name: Those of the table itself, which may be a partition.
            columns: Its columns.
            key: The columns of its primary key, which are always recorded.
        """
        names = {root, name}
        ignored = tuple(
            column
            for column in columns
            if column not in key
            and any(pattern.matches(*each, column) for pattern in self.ignored for each in names)
        )
        conditions = tuple(
            condition
            for pattern, condition in self.conditions
            if any(pattern.matches(*each) for each in names)
        )
        if not ignored and not conditions and not self.drops_unchanged:
            return None
        return TableSelection(root, ignored, self.drops_unchanged, conditions)


EVERYTHING = Selection()
