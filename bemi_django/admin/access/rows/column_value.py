"""``ColumnValue``: a column of a change, as a user may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ColumnValue:
    """A column of a change.

    Attributes:
        name: The column.
        before: The value before the change, or the mask.
        after: The value after the change, or the mask.
        has_before: Whether the row had the column before.
        has_after: Whether the row has the column afterwards.
        is_changed: Whether the values differ, also if they are masked.
        is_masked: Whether the values are masked.
        is_unknown: Whether the log does not know a value.
    """

    name: str
    before: Any
    after: Any
    has_before: bool
    has_after: bool
    is_changed: bool
    is_masked: bool
    is_unknown: bool
