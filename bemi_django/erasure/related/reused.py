"""Keys that others had before an object, or have since: what refers to one is of whoever has it then."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from bemi_django import conf
from bemi_django.erasure.targets.shared_rows import Since, arrival, times_between
from bemi_django.erasure.targets.target import OF_ROWS, Target
from bemi_django.log.conditions import in_table
from bemi_django.models import Change


class Holding(NamedTuple):
    """A time in which a key was an object's, from a change on, and before another one; None for no bound.

    ``side`` is that of changes for which the time is, ``""`` for both.
    """

    start: UUID | None = None
    end: UUID | None = None
    side: str = ""


def times_of(target: Target, having: Q) -> list[Holding]:
    """Return the times in which an object had a key; all of the time if no other row of its table had it.

    Each goes on until another row gets the key, because what refers to it follows the object later.

    Args:
        target: The object, and nothing that belongs to it.
        having: The condition for changes of rows that have the key, before or after.
    """
    log = Change.objects.using(conf.destination()).filter(in_table(target.place), having).order_by()
    log = log.filter(operation__in=OF_ROWS)
    if not log.exclude(target.condition).exists():
        return [Holding()]
    own = set(log.filter(target.condition).values_list("pk", flat=True))
    return list(_times(own, log.order_by("id").values_list("pk", flat=True).iterator()))


def of_key(key: str) -> Q:
    """Return the condition for changes of rows that have a primary key, before or after."""
    return Q(primary_key=key) | Q(previous_primary_key=key)


def _times(own: set[UUID], holders: Iterator[UUID]) -> Iterator[Holding]:
    start: Since | None = None
    last: UUID | None = None
    is_own = False
    for change in holders:
        if change in own and not is_own:
            start, is_own = None if last is None else arrival(change, last), True
        elif change not in own and is_own:
            yield from starmap(Holding, times_between(start, arrival(change, last)))
            is_own = False
        last = change
    if is_own:
        yield from starmap(Holding, times_between(start, None))
