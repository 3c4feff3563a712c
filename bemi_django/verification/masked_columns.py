"""Compare what a mask has left of values: hashes with hashes, and dropped values not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import orjson

from bemi_django.masking.json_paths import read
from bemi_django.masking.rules import ColumnMask, Name, Rules

#: By column, what may have been done to its values: columns of foreign keys are hashed, whatever the rule is.
Masks = Mapping[str, tuple[ColumnMask, ...]]


def masks_of(rules: Rules, names: Collection[Name], columns: Collection[str]) -> Masks:
    """Return the masks of a table.

    Args:
        rules: The present rules.
        names: The names that the table and its partitions have or had.
        columns: Its columns.
    """
    chosen = rules.of_table(names, columns, ())
    hashed = rules.of_table(names, columns, columns)
    return {column: (mask, hashed[column]) for column, mask in chosen.items()}


def without_masked(masks: Masks, logged: str, found: str) -> tuple[str, list[str]]:
    """Return a row of the log without masked columns, and those of them whose values differ.

    Args:
        masks: The masks of the table.
        logged: The row of the log as JSON.
        found: The row of the table as JSON.
    """
    if masks.keys().isdisjoint(row := read(logged.encode())):
        return logged, []
    live = read(found.encode())
    differing = []
    for column in masks.keys() & row.keys():
        kept = orjson.dumps(row.pop(column))
        if column in live and _differs(masks[column], kept, orjson.dumps(live[column])):
            differing.append(column)
    return orjson.dumps(row).decode(), sorted(differing)


def _differs(masks: tuple[ColumnMask, ...], kept: bytes, value: bytes) -> bool:
    # Rows that are older than the rule have the value itself. A function may return something else each time.
    if kept == value or not all(mask.is_repeatable for mask in masks):
        return False
    return value == b"null" or all(mask.mask is not None and kept != mask.mask(value) for mask in masks)
