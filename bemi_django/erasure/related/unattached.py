"""The time in which related rows referred to nobody: before they came to an object, or after they left it.

What a row has then is what it had with the object, so it belongs to it: until the row comes to another one,
and from its creation, unless it came from another one. Where the log does not tell, it is not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from bemi_django import conf
from bemi_django.erasure.targets.held_values import During, HeldValues, holding_any
from bemi_django.erasure.targets.sides import refers
from bemi_django.erasure.targets.target import HAVING_VALUES, Half
from bemi_django.log.conditions import ERASED_SIDES, in_table
from bemi_django.log.identity import KeySpan
from bemi_django.log.places import Place
from bemi_django.models import Change

_FIELDS = ("id", "primary_key", "previous_primary_key", "operation", "before", "after", "unavailable")
_CHUNK = 200
# An erased change names the columns that it changed, too.
_NO_COLUMNS = ("changed", ERASED_SIDES)
#: Stands for a value that the log does not have. It may refer to anything.
_UNKNOWN = object()


class FollowedChange(NamedTuple):
    """A change of a row.

    Attributes:
        id: Its id.
        key: The key of the row.
        first_key: The key that the row had before it.
        operation: Its operation.
        before: The row before it.
        after: The row after it.
        unknown: Columns whose values the log does not have as they were.
    """

    id: UUID
    key: str
    first_key: str
    operation: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    unknown: frozenset[str]

    @property
    def first(self) -> Mapping[str, Any]:
        """The first that it tells of the row."""
        return self.before if self.operation in ("UPDATE", "DELETE") else self.after

    @property
    def last(self) -> Mapping[str, Any]:
        """The last that it tells of the row."""
        return self.before if self.operation == "DELETE" else self.after


class Unattached(NamedTuple):
    """When rows of an object referred to nobody, and the keys of those that may have referred to others.

    ``halves`` are changes by which rows came from nobody: to others, after they had left the object, or to
    the object, after they had left others.
    """

    spans: tuple[KeySpan, ...]
    passed: frozenset[str]
    halves: tuple[Half, ...] = ()


def unattached(
    place: Place, values: Sequence[Mapping[str, Any]], references: Sequence[tuple[str, ...]]
) -> Unattached:
    """Follow the rows of a table that came to an object, or left it.

    Args:
        place: The table.
        values: What its rows have that refer to the object, by all names that the columns had.
        references: All columns by which its rows refer to the object or to others like it. A row refers to
            nobody if none of them has a value.
    """
    return _Rows(place, values, references).followed()


class _Rows:
    """The rows of a table, by what refers to an object."""

    def __init__(
        self, place: Place, values: Sequence[Mapping[str, Any]], references: Sequence[tuple[str, ...]]
    ) -> None:
        self._values = [During(each) for each in values]
        self._held = HeldValues(self._values)
        self._references = list(dict.fromkeys([*map(tuple, values), *references]))
        log = Change.objects.using(conf.destination()).filter(in_table(place))
        # Rows of a table without a key cannot be told apart.
        log = log.filter(operation__in=HAVING_VALUES, primary_key__isnull=False)
        self._log: QuerySet[Change] = log.order_by()

    def followed(self) -> Unattached:
        """Return when the rows belonged to the object without referring to it."""
        spans: dict[KeySpan, None] = {}
        passed: set[str] = set()
        halves: dict[Half, None] = {}
        having = holding_any("before", self._values) | holding_any("after", self._values)
        moves = self._log.filter(having, operation="UPDATE") if self._values else self._log.none()
        for step in _steps(moves.order_by("id")):
            is_leaving = self._is_theirs(step.before)
            # Otherwise the object has got another key.
            if is_leaving != self._is_theirs(step.after):
                found, is_passed, half = self._later(step) if is_leaving else self._earlier(step)
                spans.update(dict.fromkeys(found))
                halves.update(dict.fromkeys([half] if half else ()))
                if is_passed:
                    passed.add(step.key)
        return Unattached(tuple(spans), frozenset(passed), tuple(halves))

    def _later(self, left: FollowedChange) -> tuple[list[KeySpan], bool, Half | None]:
        """Return when a row that left the object referred to nobody, and whether it may have come to others.

        Each span ends with a change that was read, because what is logged later may be of others.
        """
        found: list[KeySpan] = []
        if self._refers(left.after):
            return found, True, None
        last = left
        for step in self._walk(left, is_later=True):
            if step.operation == "EVENT":
                if last.operation != "DELETE":
                    _extend(found, step)
                continue
            is_put_back = _is_put_back(last, step) and _UNKNOWN not in step.after.values()
            if step.first_key != last.key or (step.operation == "CREATE" and not is_put_back):
                # Another row, or what may be one.
                break
            attached = self._attached(step.first, step.last)
            if attached is not None or not _continues(last, step):
                is_passed = attached is None or not self._is_theirs(attached)
                is_whole = not is_passed or self._refers(step.first) or not _continues(last, step)
                return found, is_passed, None if is_whole else Half(step.id, "before")
            _extend(found, step)
            last = step
        return found, False, None

    def _earlier(self, came: FollowedChange) -> tuple[list[KeySpan], bool, Half | None]:
        """Return when a row that came to the object referred to nobody, and whether it may have had others.

        It may have, unless the log has all of it from its creation on.
        """
        found: list[KeySpan] = []
        if self._refers(came.before):
            return found, True, None
        later = came
        for step in self._walk(came, is_later=False):
            is_begun = later.operation == "CREATE"
            if step.operation == "EVENT":
                if not is_begun:
                    _extend(found, step)
                continue
            if step.key != later.first_key or (is_begun and not _is_put_back(step, later)):
                # Another row.
                break
            attached = self._attached(step.last, step.first)
            if attached is not None or not _continues(step, later):
                is_passed = attached is None or not self._is_theirs(attached)
                is_whole = not is_passed or self._refers(step.last) or not _continues(step, later)
                return [], is_passed, None if is_whole else Half(came.id, "after")
            _extend(found, step)
            later = step
        return (found, False, None) if later.operation == "CREATE" else ([], bool(found), None)

    def _walk(self, step: FollowedChange, *, is_later: bool) -> Iterator[FollowedChange]:
        """Yield the changes after or before one, under all keys that the row had."""
        start: FollowedChange | None = step
        while start is not None:
            key = start.key if is_later else start.first_key
            own = Q(primary_key=key) | Q(previous_primary_key=key)
            within, order = (Q(id__gt=start.id), "id") if is_later else (Q(id__lt=start.id), "-id")
            start = None
            for found in _steps(self._log.filter(own & within).order_by(order)):
                yield found
                if found.first_key != found.key:
                    start = found
                    break

    def _is_theirs(self, image: Mapping[str, Any]) -> bool:
        return any(self._held.of(image))

    def _attached(self, *images: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the first of a row's images that refers to anything, or may do so."""
        return next(filter(self._refers, images), None)

    def _refers(self, image: Mapping[str, Any]) -> bool:
        return refers(image, self._references)


def _steps(changes: QuerySet[Change]) -> Iterator[FollowedChange]:
    rows = changes.values_list(*_FIELDS).iterator(_CHUNK)
    for id, key, previous, operation, before, after, unavailable in rows:
        reasons = (unavailable or {}).items()
        unknown = frozenset(name for reason, names in reasons if reason not in _NO_COLUMNS for name in names)
        first_key = key if previous is None else previous
        old, new = _with_unknown(before, unknown), _with_unknown(after, unknown)
        yield FollowedChange(id, key, first_key, operation, old, new, unknown)


def _with_unknown(image: Mapping[str, Any], unknown: frozenset[str]) -> Mapping[str, Any]:
    lacking = [name for name in unknown if image.get(name) is None]
    return {**image, **dict.fromkeys(lacking, _UNKNOWN)} if image else image


def _continues(earlier: FollowedChange, later: FollowedChange) -> bool:
    """Return whether a change found the row as the one before it has left it: the log lacks none of it."""
    left, found = earlier.last, later.first
    compared = (left.keys() & found.keys()) - earlier.unknown - later.unknown
    return all(left[name] == found[name] for name in compared)


def _is_put_back(deleted: FollowedChange, created: FollowedChange) -> bool:
    """Return whether a row that was created is the one that was deleted, such as by a revert."""
    return deleted.operation == "DELETE" and deleted.before == created.after


def _extend(spans: list[KeySpan], step: FollowedChange) -> None:
    """Add a change to the spans of a row."""
    start, end = step.id, UUID(int=step.id.int + 1)
    if spans and spans[-1].key == step.key:
        last = spans.pop()
        start, end = min(start, last.start or start), max(end, last.end or end)
    spans.append(KeySpan(step.key, start, end))
