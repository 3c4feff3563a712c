"""The result of comparing one table with its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_EXAMPLES = 3

#: What DDL explains.
CREATED = "created together with the table"
ATTACHED = "in a partition that was attached"
REWRITTEN = "rewritten by ALTER TABLE"
DETACHED = "of a partition that was dropped or detached"
CONVERTED = "with values that ALTER changed"
REKEYED = "with keys that ALTER changed"
WRITTEN = "written by DDL"
REUSED = "written while tables of the same name replaced each other"
#: What the settings explain.
OMITTED = "explained by changes that were left out"
#: Why encrypted values of a row are not compared.
ERASED = "with values whose key was deleted"
UNREADABLE = "with encrypted values that no key decrypts"

#: Kinds of differences, as they are printed.
MISSING, EXTRA, DIFFERENT = "not in the log", "only in the log", "different"


@dataclass
class Differences:
    """The number of differences of a kind, with examples: keys, and columns whose values differ."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, count: int = 1) -> None:
        """Count differences."""
        self.count += count
        if example and len(self.examples) < _EXAMPLES:
            self.examples.append(example)

    def __str__(self) -> str:
        if not self.examples:
            return str(self.count)
        more = ", ..." if self.count > len(self.examples) else ""
        return f"({', '.join(self.examples)}{more})"


@dataclass
class Verified:
    r"""How one table and its log agree.

    Attributes:
        table: The table as ``schema.name``.
        rows: Rows of the table that were compared.
        older: Those of them that are older than the log, which it cannot know.
        skipped: Changes that ``skip_tracking()`` kept out of the log; they may explain the differences.
        explained: Numbers of differences that DDL or the settings explain, by how they do, and of rows of
            which an encrypted value could not be compared.
        accepted: Differences that an earlier run accepted.
        unprintable: Rows with values that JSON cannot hold, such as ``\u0000``; their other columns are
            compared.
        missing: Rows that the table has and the log does not.
        extra: Rows that the log has and the table does not.
        different: Rows whose values differ.
        notes: What was not compared, and why, although nothing is wrong.
        is_left_out: Whether nothing was compared.
        failure: Why the comparison could not be completed, or an empty string.
    """

    table: str
    rows: int = 0
    older: int = 0
    skipped: int = 0
    explained: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    unprintable: int = 0
    missing: Differences = field(default_factory=Differences)
    extra: Differences = field(default_factory=Differences)
    different: Differences = field(default_factory=Differences)
    notes: list[str] = field(default_factory=list)
    is_left_out: bool = False
    failure: str = ""

    @classmethod
    def of_json(cls, table: str, values: Mapping[str, Any]) -> Verified:
        """Return the result that :func:`dataclasses.asdict` has made values of JSON of."""
        result = cls(table, **{name: value for name, value in values.items() if name != "table"})
        for name in ("missing", "extra", "different"):
            setattr(result, name, Differences(**values[name]))
        return result

    def explain(self, reason: str, count: int = 1) -> None:
        """Count differences that something explains, or rows of which not all could be compared."""
        self.explained[reason] = self.explained.get(reason, 0) + count

    def leave_out(self, why: str) -> None:
        """Note that the table was not compared, although nothing is wrong."""
        self.is_left_out = True
        self.notes.append(why)

    def differences_of(self, kind: str) -> Differences:
        """Return the differences of a kind."""
        return {MISSING: self.missing, EXTRA: self.extra, DIFFERENT: self.different}[kind]

    @property
    def differences(self) -> int:
        """Return the number of rows that differ."""
        return self.missing.count + self.extra.count + self.different.count

    @property
    def is_true(self) -> bool:
        """Return whether the log was found to agree with the table."""
        return not self.differences and not self.failure

    def __str__(self) -> str:
        if self.failure:
            return f"{self.table}: cannot be compared: {self.failure}"
        if self.is_left_out:
            return f"{self.table}: {', '.join(self.notes)}"
        parts = [f"{self.rows} rows"]
        if self.older:
            parts.append(f"{self.older} of them older than the log")
        if self.skipped:
            parts.append(f"{self.skipped} changes skipped")
        parts += self.notes
        parts += [f"{count} {how}" for how, count in sorted(self.explained.items())]
        if self.unprintable:
            parts.append(f"{self.unprintable} with values that JSON cannot hold")
        if self.accepted:
            parts.append(f"{self.accepted} accepted differences")
        for kind in (MISSING, EXTRA, DIFFERENT):
            found = self.differences_of(kind)
            if found.count:
                examples = f" {found}" if found.examples else ""
                parts.append(f"{found.count} {kind}{examples}")
        if not self.differences:
            parts.append("as in the log")
        return f"{self.table}: {', '.join(parts)}"
