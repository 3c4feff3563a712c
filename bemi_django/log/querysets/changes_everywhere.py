"""The changes of all destinations as one list."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, overload
from uuid import UUID

from django.db import models
from django.db.models import Q

from bemi_django.exceptions import BemiError
from bemi_django.log import object_changes
from bemi_django.log.undo import Revertible

if TYPE_CHECKING:
    from bemi_django.log.change import Change
    from bemi_django.log.querysets.change_queryset import ChangeQuerySet

#: What is asked of each destination alone. Which changes an object has is asked of all of them.
_CHAINED = frozenset(
    ("after", "after_not", "before", "before_not", "between", "by", "context", "context_not", "created")
    + ("deleted", "exclude", "field_changed", "filter", "for_model", "in_request", "in_transaction", "of_key")
    + ("of_table", "outside", "unverified", "updated")
)

_IS_GAP = Q(operation="GAP", table="")


class ChangesEverywhere(Revertible):
    """Changes of several logs, by the time of the commit and the id, each with its ``destination``.

    It is read as far as it is looked at: ``[:20]`` asks each destination for 20 changes. It has the methods
    of a ``ChangeQuerySet`` that choose changes, ``count()``, ``exists()``, ``first()``, ``last()`` and
    ``revert()``. A destination that cannot be reached raises an error: a list that lacks changes is none.

    Args:
        logs: The changes of each log.
        newest_first: Whether the newest change is the first one.
    """

    def __init__(self, logs: Sequence[ChangeQuerySet], newest_first: bool = False) -> None:
        self._logs, self._newest_first = logs, newest_first

    def __getattr__(self, name: str) -> Callable[..., ChangesEverywhere]:
        """Return a method that chooses changes of each log.

        Raises:
            AttributeError: It is none of those that all destinations can answer together.
        """
        if name not in _CHAINED:
            raise AttributeError(
                f"{name!r} is nothing that several destinations are asked together: ask one with using()"
            )

        def choose(*args: Any, **kwargs: Any) -> ChangesEverywhere:
            return self._of([getattr(log, name)(*args, **kwargs) for log in self._logs])

        return choose

    def for_object(
        self, instance: models.Model, *, related: bool | Collection[str] = False
    ) -> ChangesEverywhere:
        """Return changes of one object, under all primary keys that it had in any of the logs."""
        whole = [log.model._base_manager.using(log.db) for log in self._logs]

        def logged(here: Q) -> _DividedLog:
            return _DividedLog([object_changes.TableLog(log.filter(here)) for log in whole])

        condition = object_changes.of_object(logged, instance, related)
        return self._of([log.filter(condition) for log in self._logs])

    def asc(self) -> ChangesEverywhere:
        """Return the changes with the oldest first."""
        return ChangesEverywhere(self._logs)

    def desc(self) -> ChangesEverywhere:
        """Return the changes with the newest first."""
        return ChangesEverywhere(self._logs, newest_first=True)

    def count(self) -> int:
        """Return the number of changes of all logs.

        A gap, which all of them have, counts once. Another change counts in each log that has it: two have it
        only where somebody has copied it, as by importing an archive of another destination.
        """
        gaps = {gap for log in self._logs for gap in log.filter(_IS_GAP).values_list("pk", flat=True)}
        return sum(log.exclude(_IS_GAP).count() for log in self._logs) + len(gaps)

    def exists(self) -> bool:
        """Return whether one of the logs has such a change."""
        return any(log.exists() for log in self._logs)

    def first(self) -> Change | None:
        """Return the first change, or None."""
        return next(iter(self[:1]), None)

    def last(self) -> Change | None:
        """Return the last change, or None."""
        return next(iter(self._turned()[:1]), None)

    def __iter__(self) -> Iterator[Change]:
        return self._merged([log.iterator() for log in self._ordered()])

    @overload
    def __getitem__(self, number: int) -> Change: ...

    @overload
    def __getitem__(self, number: slice) -> list[Change]: ...

    def __getitem__(self, number: int | slice) -> Change | list[Change]:
        """Return the change at a place, or those of a slice without negative numbers.

        Raises:
            IndexError: There is no such change.
            BemiError: The slice has negative numbers, or a step.
        """
        if not isinstance(number, slice):
            found = self[number : number + 1]
            if not found:
                raise IndexError(number)
            return found[0]
        begin, end = number.start or 0, number.stop
        if begin < 0 or (end is not None and end < 0) or number.step is not None:
            raise BemiError("changes of several destinations have no places from their end, and no steps")
        # Each log may have all of them.
        merged = self._merged([iter(log[:end]) for log in self._ordered()])
        return list(islice(merged, begin, end))

    def __repr__(self) -> str:
        return f"<ChangesEverywhere of {', '.join(log.db for log in self._logs)}>"

    def _of(self, logs: Sequence[ChangeQuerySet]) -> ChangesEverywhere:
        return ChangesEverywhere(logs, self._newest_first)

    def _turned(self) -> ChangesEverywhere:
        return ChangesEverywhere(self._logs, not self._newest_first)

    def _ordered(self) -> list[ChangeQuerySet]:
        return [log.by_time(newest_first=self._newest_first) for log in self._logs]

    def _merged(self, found: Sequence[Iterator[Change]]) -> Iterator[Change]:
        before: UUID | None = None
        for change in heapq.merge(*found, key=_place, reverse=self._newest_first):
            # All logs have a gap, and a change that somebody has copied is in two.
            if change.pk != before:
                yield change
            before = change.pk


class _DividedLog:
    """The changes of a table in several logs, as those of one."""

    def __init__(self, logs: Sequence[object_changes.TableLog]) -> None:
        self._logs = logs

    def moves(self, key: str) -> list[Any]:
        found = [move for log in self._logs for move in log.moves(key)]
        return sorted({move.pk: move for move in found}.values(), key=lambda move: move.pk, reverse=True)

    def is_used_after(self, key: str, change_id: UUID) -> bool:
        return any(log.is_used_after(key, change_id) for log in self._logs)

    def between(self, key: str, start: UUID, end: UUID) -> list[Any]:
        found = [change for log in self._logs for change in log.between(key, start, end)]
        return sorted({change.pk: change for change in found}.values(), key=lambda change: change.pk)


def _place(change: Change) -> tuple[Any, UUID]:
    return change.committed_at, change.pk
