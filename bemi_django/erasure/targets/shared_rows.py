"""Rows that were, or are, of others as well, and the times in which they were of an object."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from bemi_django import conf
from bemi_django.erasure.targets.sides import sides_of
from bemi_django.erasure.targets.target import HAVING_VALUES, SIDES, Target
from bemi_django.log.conditions import in_table
from bemi_django.models import Change
from bemi_django.wire.ids import first_id

_CHUNK = 200
#: Events have no values, so they are of nobody else.
_OF_ROWS = tuple(each for each in HAVING_VALUES if each != "EVENT")


class OwnTime(NamedTuple):
    """A time in which a row was of an object: from a change on, and before another one, and its values.

    ``side`` is that of changes for which the time is, ``""`` for both.
    """

    start: UUID | None
    end: UUID | None
    side: str
    images: Sequence[dict[str, Any]]


class Since(NamedTuple):
    """The ids from which on rows refer to another row by a key: before a change, and after it."""

    before: UUID
    after: UUID


def keys_of(target: Target) -> set[str]:
    """Return the keys of a target's rows."""
    keys = {span.key for span in target.spans}
    log = Change.objects.using(conf.destination()).filter(target.condition).order_by()
    for column in ("primary_key", "previous_primary_key"):
        keys |= {key for (key,) in log.values_list(column).distinct() if key is not None}
    return keys


def shared_keys(target: Target, keys: Collection[str]) -> set[str]:
    """Return the keys of rows that have also had values of others, or may have had."""
    if not target.values and not target.during:
        # The last key is that of the object itself, whatever had it before.
        keys = {*keys} - {span.key for span in target.spans[:1]}
    log = Change.objects.using(conf.destination()).order_by()
    rows = log.filter(in_table(target.place), operation__in=_OF_ROWS)
    found: set[str | None] = set()
    wanted = sorted(keys)
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        of_keys = Q(primary_key__in=chunk) | Q(previous_primary_key__in=chunk)
        own = log.filter(target.condition & of_keys)
        others = rows.filter(of_keys).exclude(pk__in=own.values("pk"))
        for pair in others.values_list("primary_key", "previous_primary_key").distinct():
            found.update(pair)
        for change in own.filter(target.may_be_half).iterator(_CHUNK):
            if len(sides_of_change(target, change)) == 1:
                found.update((change.primary_key, change.previous_primary_key))
    return {key for key in found if key is not None}


def own_times(target: Target, key: str) -> Iterator[OwnTime]:
    """Yield the times in which a row with a key was of a target's object.

    Args:
        target: The target.
        key: The key.
    """
    of_key = Q(primary_key=key) | Q(previous_primary_key=key)
    log = Change.objects.using(conf.destination()).filter(in_table(target.place) & of_key)
    own = set(log.filter(target.condition).order_by().values_list("pk", flat=True))
    start: Since | None = None
    images: list[dict[str, Any]] = []
    is_first, is_own = True, False
    last: UUID | None = None
    for change in log.filter(operation__in=_OF_ROWS).order_by("id").iterator(_CHUNK):
        known = sides_of_change(target, change) if change.pk in own else frozenset()
        # A change of the key has one side under each.
        is_moved = change.previous_primary_key is not None
        here = {"after" if change.primary_key == key else "before"} if is_moved else {*SIDES}
        sides = known & here
        if is_first and change.operation != "CREATE" and ("before" if change.before else "after") in sides:
            # It was there before the log.
            is_own = True
        images += [getattr(change, side) for side in SIDES if side in sides and getattr(change, side)]
        # What is deleted along with a row may come after it.
        stays = is_own if change.operation == "DELETE" else "after" in sides
        is_new = change.operation == "CREATE"
        since = arrival(change.pk, last) if is_new else Since(change.pk, change.pk)
        if is_own and not stays:
            yield from (OwnTime(*time, images) for time in times_between(start, since))
            images = []
        if stays and not is_own:
            start = None if is_first and is_new else since
        is_own, is_first, last = stays, False, change.pk
    if is_own:
        yield from (OwnTime(*time, images) for time in times_between(start, None))


def arrival(change: UUID, last: UUID | None) -> Since:
    """Return from when on rows refer to a row that comes to a key with a change.

    What refers to it may come before it in its transaction. If something else had the key in that, what rows
    have then is of the new one, and what they had is of that.

    Args:
        change: The id of the change.
        last: The id of the last change of what had the key before, if anything had it.
    """
    first = UUID(bytes=first_id(change.bytes))
    if last is None or last < first:
        return Since(first, first)
    return Since(change, UUID(int=last.int + 1))


def times_between(start: Since | None, end: Since | None) -> Iterator[tuple[UUID | None, UUID | None, str]]:
    """Yield start, end and side of the times between two bounds, of which None is none."""
    if all(each is None or each.before == each.after for each in (start, end)):
        yield start and start.after, end and end.after, ""
    else:
        for side in SIDES:
            yield start and getattr(start, side), end and getattr(end, side), side


def sides_of_change(target: Target, change: Change) -> frozenset[str]:
    """Return the sides of a target's change that are about its object."""
    return sides_of(target, change.pk, change.primary_key, {side: getattr(change, side) for side in SIDES})
