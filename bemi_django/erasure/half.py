"""A change of which one side is erased: the other one, and the key of its row, are of another object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from bemi_django.erasure.rewriting import StoredChange
from bemi_django.erasure.targets.sides import sides_of
from bemi_django.erasure.targets.target import SIDES, Target
from bemi_django.log.conditions import ERASED_SIDES
from bemi_django.log.lossless_json import dumps, loads

_PRINTED = """
SELECT n.text::jsonb::text FROM unnest(%s::text[]) WITH ORDINALITY n (text, place) ORDER BY n.place
"""


def with_other_sides(
    cursor: Any, target: Target, changes: Iterable[tuple[StoredChange, StoredChange]]
) -> list[StoredChange]:
    """Return what is left of changes, with the sides that are not about the object of a target as they were.

    Args:
        cursor: A cursor of the log, with a closed search path.
        target: The target.
        changes: Each change as it is, and what is left of it if both sides are erased.
    """
    found = [_with_other_side(target, old, new) for old, new in changes]
    # Files of archives are sealed as PostgreSQL prints them.
    cursor.execute(_PRINTED, [[change.unavailable for change in found]])
    printed = [text for (text,) in cursor.fetchall()]
    return [change._replace(unavailable=text) for change, text in zip(found, printed, strict=True)]


def _with_other_side(target: Target, old: StoredChange, new: StoredChange) -> StoredChange:
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
