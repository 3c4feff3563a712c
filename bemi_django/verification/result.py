"""The result of comparing one table with its log."""

from __future__ import annotations

from dataclasses import dataclass, field

_EXAMPLES = 3


@dataclass
class Verified:
    """How one table and its log agree.

    Attributes:
        table: The table as ``schema.name``.
        rows: Rows that the table has.
        older: Those of them that are older than the log, which it cannot know.
        skipped: Changes that ``skip_tracking()`` kept out of the log; they may explain the differences.
        missing: Keys (or, without a key, rows) that the table has and the log does not.
        extra: Keys (or rows) that the log has and the table does not.
        different: Keys whose values differ, each with the names of the columns.
        failure: Why the comparison could not be completed, or an empty string.
    """

    table: str
    rows: int = 0
    older: int = 0
    skipped: int = 0
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def differences(self) -> int:
        """Return the number of rows that differ."""
        return len(self.missing) + len(self.extra) + len(self.different)

    @property
    def is_true(self) -> bool:
        """Return whether the log was found to agree with the table."""
        return not self.differences and not self.failure

    def __str__(self) -> str:
        if self.failure:
            return f"{self.table}: cannot be compared: {self.failure}"
        parts = [f"{self.rows} rows"]
        if self.older:
            parts.append(f"{self.older} of them older than the log")
        if self.skipped:
            parts.append(f"{self.skipped} changes skipped")
        for description, keys in (
            ("not in the log", self.missing),
            ("only in the log", self.extra),
            ("different", self.different),
        ):
            if keys:
                more = ", ..." if len(keys) > _EXAMPLES else ""
                parts.append(f"{len(keys)} {description} ({', '.join(keys[:_EXAMPLES])}{more})")
        if not self.differences:
            parts.append("as in the log")
        return f"{self.table}: {', '.join(parts)}"
