"""``ColumnValue``: a column of a change, as a user may see it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from bemi_django.admin.access.encrypted_rows import EncryptedRows
from bemi_django.admin.access.masks import MASK
from bemi_django.log.conditions import ERASED_SIDES
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change


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


def column_values(change: Change, encrypted: EncryptedRows, hidden: Collection[str]) -> Iterator[ColumnValue]:
    """Yield the columns of a change in alphabetical order.

    Args:
        change: The change.
        encrypted: Decrypts what the user may see.
        hidden: The columns whose values the user may not see.
    """
    unknown = change.unavailable or {}
    lost = {*unknown.get("before", ()), *unknown.get("after", ())}
    keyless = encrypted.erased(change)
    erased = keyless.union(unknown.get("erased", ()))
    sides = unknown.get(ERASED_SIDES, ("before", "after"))
    lost_before, lost_after = (erased if side in sides else keyless for side in ("before", "after"))
    replaced = set(unknown.get("changed", ()))
    old, new = encrypted.row(change, "before"), encrypted.row(change, "after")
    stored = {*change.before, *change.after, *lost}
    for name in sorted(stored | replaced):
        if name not in stored:
            # Nothing of it is kept but that it was changed.
            yield ColumnValue(name, MASK, MASK, True, True, True, is_masked=True, is_unknown=True)
            continue
        before, after = old.get(name), new.get(name)
        masked = name in hidden
        yield ColumnValue(
            name,
            MASK if masked and before is not None else before,
            MASK if masked and after is not None else after,
            name in change.before and name not in lost_before,
            name in change.after and name not in lost_after,
            name in replaced
            or name not in change.before
            or name not in change.after
            or dumps(change.before[name]) != dumps(change.after[name]),
            masked,
            name in lost or name in erased,
        )
