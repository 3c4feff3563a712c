"""Remember what was left out of the log: which columns until when, and how many changes for which reason."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Why a change was left out: it touched only ignored columns, it changed nothing, or a condition said so.
IGNORED, UNCHANGED, CONDITION = "ignored columns", "unchanged", "condition"


@dataclass(slots=True)
class Omissions:
    """What was left out.

    Attributes:
        columns: By schema, table and columns: the sequence number of the last change without their values.
        changes: By schema, table and reason: the number of changes that were left out, and the sequence
            number of the last one.
    """

    columns: dict[tuple[str, str, tuple[str, ...]], int] = field(default_factory=dict)
    changes: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.columns or self.changes)

    def count(self, table: tuple[str, str], reason: str, sequence: int, number: int = 1) -> None:
        """Count changes that were left out."""
        counted, last = self.changes.get((*table, reason), (0, 0))
        self.changes[(*table, reason)] = counted + number, max(last, sequence)

    def take_over(self, other: Omissions) -> None:
        """Add what ``other`` holds, and empty it."""
        if other:
            for key, sequence in other.columns.items():
                self.columns[key] = max(sequence, self.columns.get(key, 0))
            for (schema, table, reason), (number, last) in other.changes.items():
                self.count((schema, table), reason, last, number)
            other.columns.clear()
            other.changes.clear()
