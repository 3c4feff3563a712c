"""Tell which changes are of one row, also where its primary key changes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from bemi_django.models import Change


def rows_of_changes(changes: Iterable[Change]) -> list[int | None]:
    """Return a number for each change that tells its row from the others; None for a row without a key.

    Args:
        changes: Changes in commit order. A row that is created with the key of a deleted one is another.
    """
    numbers = count()
    known: dict[Any, int] = {}
    found: list[int | None] = []
    for change in changes:
        key = change.place, change.primary_key
        if change.primary_key is None:
            found.append(None)
            continue
        before = key
        if change.operation == "UPDATE" and change.previous_primary_key is not None:
            before = change.place, change.previous_primary_key
        row = None if change.operation == "CREATE" else known.pop(before, None)
        row = next(numbers) if row is None else row
        if change.operation != "DELETE":
            known[key] = row
        found.append(row)
    return found
