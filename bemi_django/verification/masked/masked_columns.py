"""Compare what a mask has left of values: hashes with hashes, and dropped values not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson

from bemi_django.masking.actions import HASH_PREFIX, NULL
from bemi_django.masking.json_paths import read
from bemi_django.masking.rules import ColumnMask, Name, Rules
from bemi_django.verification.masked.encrypted_values import Comparison, EncryptedValues

#: By column, what may have been done to its values: columns of foreign keys are hashed, whatever the rule is.
Masks = Mapping[str, tuple[ColumnMask, ...]]


def masks_of(rules: Rules, names: Collection[Name], columns: Mapping[str, int]) -> Masks:
    """Return the masks of a table.

    Args:
        rules: The present rules.
        names: The names that the table and its partitions have or had.
        columns: Its columns, with the oids of their types.
    """
    chosen = rules.of_table(names, columns, (), types=columns)
    hashed = rules.of_table(names, columns, columns, types=columns)
    return {column: (mask, hashed[column]) for column, mask in chosen.items()}


class ParsedRow(NamedTuple):
    """A row of the log without its masked columns, and what comparing these has shown.

    Attributes:
        rest: The row as JSON.
        differing: Masked columns whose values differ.
        unknown: Why encrypted values could not be compared, if some could not.
    """

    rest: str
    differing: list[str]
    unknown: frozenset[Comparison] = frozenset()


def without_masked(masks: Masks, logged: str, found: str, values: EncryptedValues) -> ParsedRow:
    """Compare the masked columns of a row of the log with a row of the table.

    Args:
        masks: The masks of the table.
        logged: The row of the log as JSON.
        found: The row of the table as JSON.
        values: The encrypted values of the table, which knows the keys of this row.
    """
    if masks.keys().isdisjoint(row := read(logged.encode())):
        return ParsedRow(logged, [])
    live = read(found.encode())
    kept = {column: row.pop(column) for column in masks.keys() & row.keys()}
    differing, unknown = [], set()
    for column in sorted(kept.keys() & live.keys()):
        value = orjson.dumps(live[column])
        shown = values.compare(column, kept[column], value)
        if shown in (Comparison.ERASED, Comparison.UNREADABLE):
            unknown.add(shown)
        elif shown is Comparison.UNLIKE or (
            shown is None and _differs(masks, {**row, **kept}, column, value)
        ):
            differing.append(column)
    return ParsedRow(orjson.dumps(row).decode(), differing, frozenset(unknown))


def _differs(by_column: Masks, row: Mapping[str, Any], column: str, value: bytes) -> bool:
    masks, kept = by_column[column], orjson.dumps(row[column])
    # Rows that are older than the rule have the value itself.
    if kept == value:
        return False
    encryption = masks[0].encryption
    if encryption is not None:
        # A hash if it is, or was, a column of a key. Nothing is kept of a value whose row is not known.
        is_hash = any(mask.mask is not None and kept == mask.mask(value) for mask in masks)
        return not (is_hash or (kept == NULL and _is_of_nobody(by_column, row, encryption.by)))
    # A function may return something else each time.
    if not all(mask.is_repeatable for mask in masks):
        return False
    return value == NULL or all(mask.mask is not None and kept != mask.mask(value) for mask in masks)


def _is_of_nobody(masks: Masks, row: Mapping[str, Any], by: str) -> bool:
    """Return whether the row that a value belongs to was not known when it was recorded."""
    if not by:
        return False
    key = row.get(by)
    return key is None or (by in masks and not (isinstance(key, str) and key.startswith(HASH_PREFIX)))
