"""Which sides of a change are about an object: a row may go from one straight to another.

Then what the row had before belongs to the first, and what it had afterwards to the second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from bemi_django.erasure.targets.target import SIDES, Target
from bemi_django.log.identity import KeySpan


def sides_of(
    target: Target, change_id: UUID, key: str | None, images: Mapping[str, Mapping[str, Any]]
) -> frozenset[str]:
    """Return the sides of a target's change that are about its object.

    Args:
        target: The target.
        change_id: The id of the change.
        key: The key of its row.
        images: The row by side, ``before`` and ``after``.
    """
    whole = frozenset(SIDES)
    if any(is_in_span(span, change_id, key) for span in target.spans):
        return whole
    found = {half.side for half in target.halves if half.change == change_id}
    is_known = bool(found)
    found |= holding_sides(target, change_id, images)
    others = whole - found
    if not found or (not is_known and not any(refers(images[side], target.references) for side in others)):
        return whole
    return frozenset(found)


def holding_sides(target: Target, change_id: UUID, images: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the sides of a change that have values which refer to the object of a target."""
    found = set()
    for side in SIDES:
        during = (each.values for each in target.during if each.includes(change_id, side))
        if holds_any(images[side], (*target.values, *during)):
            found.add(side)
    return found


def holds_any(image: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a row has all values of one of several."""
    return any(
        all(column in image and image[column] == value for column, value in values.items()) for values in rows
    )


def refers(image: Mapping[str, Any], references: Iterable[Sequence[str]]) -> bool:
    """Return whether a row refers to anything, or does not tell; where there is no row, nothing does."""
    known = [names for names in references if all(name in image for name in names)]
    return bool(image) and (
        not known or any(all(image[name] is not None for name in names) for names in known)
    )


def is_in_span(span: KeySpan, change_id: UUID, key: str | None) -> bool:
    """Return whether a change is one of a row under a key."""
    if key != span.key:
        return False
    if span.start is not None and (change_id <= span.start if span.is_open else change_id < span.start):
        return False
    return (span.end is None or change_id < span.end) and change_id not in span.others
