"""A change of which one side is erased: the other one, and the key of its row, are of another object."""

from __future__ import annotations

from uuid import UUID

from bemi_django.erasure.rewriting import StoredChange
from bemi_django.erasure.sides import sides_of
from bemi_django.erasure.target import SIDES, Target
from bemi_django.log.conditions import ERASED_SIDES
from bemi_django.log.lossless_json import dumps, loads


def with_other_side(target: Target, old: StoredChange, new: StoredChange) -> StoredChange:
    """Return what is left of a change, with the side that is not about the object of a target as it was.

    Args:
        target: The target.
        old: The change as it is.
        new: What is left of it if both sides are erased.
    """
    images = {side: loads(getattr(old, side)) for side in SIDES}
    known = loads(old.unavailable or "{}")
    # One side may have been erased for another object.
    erased = sides_of(target, UUID(old.id), old.primary_key, images) | {*known.get(ERASED_SIDES, ())}
    unavailable = loads(new.unavailable or "{}")
    if "erased" in known:
        # What was erased before differs from what is there.
        unavailable.pop("changed", None)
        unavailable |= {name: known[name] for name in ("changed",) if name in known}
    unavailable.pop(ERASED_SIDES, None)
    if erased == {*SIDES}:
        return new._replace(unavailable=dumps(unavailable))
    kept = {side: getattr(old, side) for side in SIDES if side not in erased}
    keys = {name: getattr(old, name) for name in ("primary_key", "previous_primary_key")}
    unavailable[ERASED_SIDES] = sorted(erased)
    return new._replace(**kept, **keys, unavailable=dumps(unavailable))
