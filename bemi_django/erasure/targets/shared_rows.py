"""Rows that were, or are, of others as well, and the times in which they were of an object."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from bemi_django import conf
from bemi_django.erasure.targets.held_values import During, holding_any
from bemi_django.erasure.targets.sides import sides_of
from bemi_django.erasure.targets.target import OF_ROWS, SIDES, Target
from bemi_django.log.conditions import in_table
from bemi_django.models import Change
from bemi_django.wire.ids import change_id, first_id, sequence_in

_CHUNK = 200

#: Start, end and side, as of :class:`OwnTime`.
OwnWindow = tuple[UUID | None, UUID | None, str]


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
    rows = log.filter(in_table(target.place), operation__in=OF_ROWS)
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


def timed_keys(target: Target) -> set[str]:
    """Return the keys of rows that have referred for some time only to what belonged to a target's object."""
    timed = [During(each.values) for each in target.during if each.start is not None or each.end is not None]
    if not timed:
        return set()
    log = Change.objects.using(conf.destination()).filter(in_table(target.place), operation__in=OF_ROWS)
    rows = log.filter(holding_any("before", timed) | holding_any("after", timed)).order_by()
    pairs = rows.values_list("primary_key", "previous_primary_key").distinct()
    return {key for pair in pairs for key in pair if key is not None}


def own_times(target: Target, keys: Collection[str]) -> Iterator[OwnTime]:
    """Yield the times in which rows with some keys were of a target's object.

    What a row refers to may come to the object, or leave it, between two of its changes.

    Args:
        target: The target.
        keys: The keys.
    """
    wanted = sorted(keys)
    for start in range(0, len(wanted), _CHUNK):
        for changes in _by_key(target, wanted[start : start + _CHUNK]).values():
            yield from times_of_row(target, changes)


def times_of_row(target: Target, changes: Iterable[SidedChange]) -> Iterator[OwnTime]:
    """Yield the times in which rows that had a key, one after the other, were of a target's object."""
    segments = list(_segments(changes))
    start: Since | None = None
    images: list[dict[str, Any]] = []
    for number, segment in enumerate(segments):
        end = _end(segments[number + 1 : number + 3])
        windows = _windows(target, segment)
        if windows is None:
            start = start if images else segment.since
            images.append(segment.image)
        if images and (windows is not None or end is None):
            until = end if windows is None else segment.since
            yield from (OwnTime(*time, images) for time in times_between(start, until))
            images = []
        for window in windows or ():
            for time in times_between(segment.since, end):
                if (within := _intersection(time, window)) is not None:
                    yield OwnTime(*within, [segment.image])


def _end(following: Sequence[_Segment]) -> Since | None:
    """Return the end of a segment, given the two after it."""
    bounds = [each.since for each in following if each.since is not None]
    # What had the key before may be what rows had until something else has it.
    return Since(min(each.before for each in bounds), bounds[0].after) if bounds else None


class _Segment(NamedTuple):
    """The row from a change on, up to the next one.

    ``is_own``: it was of the object at the change; ``is_itself``: it is the object.
    """

    since: Since | None
    image: dict[str, Any]
    is_own: bool
    is_itself: bool


class SidedChange(NamedTuple):
    """A change of a row: its sides that are about an object, and those on which the row has a key.

    ``is_itself``: the row is the object.
    """

    change: Change
    own: frozenset[str]
    here: frozenset[str]
    is_itself: bool


def _by_key(target: Target, keys: Collection[str]) -> dict[str, list[SidedChange]]:
    """Return the changes of rows with some keys, by key."""
    of_keys = Q(primary_key__in=keys) | Q(previous_primary_key__in=keys)
    found: dict[str, list[SidedChange]] = {key: [] for key in keys}
    for change, own in changes_with_sides(target, of_keys):
        for key in {change.primary_key, change.previous_primary_key} & found.keys():
            # A change of the key has one side under each.
            is_moved = change.previous_primary_key is not None
            here = {"after" if change.primary_key == key else "before"} if is_moved else {*SIDES}
            is_itself = target.is_in_span(change.pk, key)
            found[str(key)].append(SidedChange(change, own, frozenset(here), is_itself))
    return found


def changes_with_sides(target: Target, having: Q) -> Iterator[tuple[Change, frozenset[str]]]:
    """Yield changes of rows of a target's table in order, with their sides that are about its object."""
    log = Change.objects.using(conf.destination()).filter(in_table(target.place) & having)
    own = set(log.filter(target.condition).order_by().values_list("pk", flat=True))
    for change in log.filter(operation__in=OF_ROWS).order_by("id").iterator(_CHUNK):
        yield change, sides_of_change(target, change) if change.pk in own else frozenset()


def _segments(changes: Iterable[SidedChange]) -> Iterator[_Segment]:
    last = None
    for change, own, here, is_itself in changes:
        sides = own & here
        is_new = change.operation == "CREATE"
        if last is None and not is_new and "before" in here:
            # It was there before the log.
            side = "before" if change.before else "after"
            yield _Segment(None, getattr(change, side), side in sides, is_itself)
        since = arrival(change.pk, last) if is_new else Since(change.pk, change.pk)
        if "after" not in here:
            # Rows that refer to it follow it to the other key later in its transaction.
            since = Since(UUID(bytes=change_id(sequence_in(change.pk.bytes) + 8, 0, 0)), change.pk)
        if last is None and is_new:
            yield _Segment(None, change.after, "after" in sides, is_itself)
        elif change.operation != "DELETE":
            yield _Segment(since, change.after if "after" in here else {}, "after" in sides, is_itself)
        # What is deleted along with a row may come after it.
        last = change.pk


def _windows(target: Target, segment: _Segment) -> list[OwnWindow] | None:
    """Return the times in which a row was of the object as it was; None for all of the time."""
    timed = list(target.timed.of(segment.image))
    is_whole = segment.is_itself or any(target.always.of(segment.image))
    if segment.is_own and (is_whole or not timed):
        return None
    return [(each.start, each.end, each.side) for each in timed]


def _intersection(one: OwnWindow, other: OwnWindow) -> OwnWindow | None:
    starts = [each for each in (one[0], other[0]) if each is not None]
    ends = [each for each in (one[1], other[1]) if each is not None]
    start, end = max(starts, default=None), min(ends, default=None)
    is_nothing = start is not None and end is not None and start >= end
    return None if is_nothing or "" != one[2] != other[2] != "" else (start, end, one[2] or other[2])


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
