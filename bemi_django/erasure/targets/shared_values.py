"""Values by which others refer to rows of an object, and which rows of others had as well."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Q

from bemi_django import conf
from bemi_django.erasure.targets.held_values import During, comparable, holding_any
from bemi_django.erasure.targets.shared_rows import OwnWindow, SidedChange, changes_with_sides, times_of_row
from bemi_django.erasure.targets.target import OF_ROWS, SIDES, Target
from bemi_django.log.conditions import in_table
from bemi_django.models import Change

_CHUNK = 200

#: Values of columns, in their order.
Values = tuple[Any, ...]


class SharedValues:
    """Which of some values rows of others had as well, and when they were of an object.

    Args:
        target: The object's rows.
        names: The columns, by all names that they had.
        values: What they had in them.
    """

    def __init__(self, target: Target, names: Sequence[Sequence[str]], values: Collection[Values]) -> None:
        self._target = target
        self._names = names
        self._values = {comparable(each): each for each in values}
        found = self._shared()
        #: Those that others had as well, and those that they had not.
        self.shared = [each for value, each in self._values.items() if value in found]
        self.lasting = [each for value, each in self._values.items() if value not in found]

    def times(self) -> Iterator[tuple[Values, OwnWindow]]:
        """Yield the shared values, and the times in which they were of the object."""
        for start in range(0, len(self.shared), _CHUNK):
            chunk = self.shared[start : start + _CHUNK]
            found: dict[Values, list[SidedChange]] = {comparable(each): [] for each in chunk}
            for change, own in changes_with_sides(self._target, self._having(chunk)):
                is_itself = self._target.is_in_span(change.pk, change.primary_key)
                sides = {side: self._of(getattr(change, side)) for side in SIDES}
                for value in found.keys() & (sides["before"] | sides["after"]):
                    is_kept = change.operation != "UPDATE"
                    here = frozenset(side for side in SIDES if is_kept or value in sides[side])
                    found[value].append(SidedChange(change, own, here, is_itself))
            for value, changes in found.items():
                for time in times_of_row(self._target, changes):
                    yield self._values[value], time[:3]

    def _shared(self) -> set[Values]:
        log = Change.objects.using(conf.destination()).filter(in_table(self._target.place)).order_by()
        rows = log.filter(self._having(self._values.values()), operation__in=OF_ROWS)
        shared = ~self._target.condition | self._target.may_be_half
        if timed := [each for each in self._target.during if each.start is not None or each.end is not None]:
            shared |= holding_any("before", timed) | holding_any("after", timed)
        images = rows.filter(shared).values_list(*SIDES).iterator(_CHUNK)
        return {value for sides in images for image in sides for value in self._of(image)}

    def _having(self, values: Collection[Values]) -> Q:
        held = [During(dict(zip(names, each, strict=True))) for each in values for names in self._names]
        return holding_any("before", held) | holding_any("after", held)

    def _of(self, image: Mapping[str, Any]) -> set[Values]:
        return {
            comparable(image[name] for name in names)
            for names in self._names
            if all(name in image for name in names)
        }
