"""Which sides of a change are about an object: a row may go from one straight to another.

Then what the row had before belongs to the first, and what it had afterwards to the second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from bemi_django.erasure.targets.target import SIDES, Target


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
    if target.is_in_span(change_id, key):
        return whole
    found = {*target.halves_of(change_id)}
    is_known = bool(found)
    found |= holding_sides(target, change_id, images)
    others = whole - found
    if not found or (not is_known and not any(refers(images[side], target.references) for side in others)):
        return whole
    return frozenset(found)


def holding_sides(target: Target, change_id: UUID, images: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the sides of a change that have values which refer to the object of a target."""
    found = {side for side in SIDES if any(target.always.of(images[side]))}
    before, after = (list(target.timed.of(images[side])) for side in SIDES)
    if any(each.side != "after" and each.includes(change_id) for each in before):
        found.add("before")
    for each in after:
        # What the change has left as it was refers to what it has referred to before.
        side = "before" if each in before else "after"
        if each.side in ("", side) and each.includes(change_id):
            found.add("after")
    return found


def refers(image: Mapping[str, Any], references: Iterable[Sequence[str]]) -> bool:
    """Return whether a row refers to anything, or does not tell; where there is no row, nothing does."""
    known = [names for names in references if all(name in image for name in names)]
    return bool(image) and (
        not known or any(all(image[name] is not None for name in names) for names in known)
    )
