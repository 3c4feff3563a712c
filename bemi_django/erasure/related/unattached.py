"""The time in which related rows referred to nobody: before they came to an object, or after they left it.

What a row has then is what it had with the object, so it belongs to it: until the row comes to another one,
and from its beginning, unless it came from another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from bemi_django import conf
from bemi_django.erasure.target import holding
from bemi_django.log.conditions import in_table
from bemi_django.log.identity import KeySpan
from bemi_django.log.places import Place
from bemi_django.models import Change

_FIELDS = ("id", "primary_key", "previous_primary_key", "operation", "before", "after")
_CHUNK = 200
_HAVING_VALUES = ("CREATE", "UPDATE", "DELETE", "BASELINE", "EVENT")


class FollowedChange(NamedTuple):
    """A change of a row; ``first_key`` is the key that the row had before it."""

    id: UUID
    key: str
    first_key: str
    operation: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class Unattached(NamedTuple):
    """When rows of an object referred to nobody, and the keys of those that referred to another one, too."""

    spans: tuple[KeySpan, ...]
    passed: frozenset[str]


def unattached(place: Place, values: Sequence[Mapping[str, Any]]) -> Unattached:
    """Follow the rows of a table that came to an object, or left it.

    Args:
        place: The table.
        values: What its rows have that refer to the object, by all names that the columns had.
    """
    return _Rows(place, values).followed()


class _Rows:
    """The rows of a table, by what refers to an object."""

    def __init__(self, place: Place, values: Sequence[Mapping[str, Any]]) -> None:
        self._values = values
        self._references = list(dict.fromkeys(map(tuple, values)))
        log = Change.objects.using(conf.destination()).filter(in_table(place))
        self._log: QuerySet[Change] = log.filter(operation__in=_HAVING_VALUES).order_by()

    def followed(self) -> Unattached:
        """Return when the rows belonged to the object without referring to it."""
        spans: dict[KeySpan, None] = {}
        passed: set[str] = set()
        for each in self._values:
            before, after = holding("before", each), holding("after", each)
            moves = self._log.filter(before & ~after | after & ~before, operation="UPDATE")
            for step in _steps(moves.order_by("id")):
                is_leaving = self._is_theirs(step.before)
                # Otherwise the object has got another key.
                if is_leaving != self._is_theirs(step.after):
                    refers = self._refers(step.after if is_leaving else step.before)
                    if refers is False:
                        refers = not (self._later if is_leaving else self._earlier)(step, spans)
                    if refers:
                        passed.add(step.key)
        return Unattached(tuple(spans), frozenset(passed))

    def _later(self, left: FollowedChange, spans: dict[KeySpan, None]) -> bool:
        """Add when a row that left the object referred to nobody; return whether it came to no other one."""
        key, since = left.key, left.id
        last: Mapping[str, Any] | None = None
        for step in self._of_key(key, Q(id__gt=since), "id"):
            is_another = step.first_key != key or (step.operation == "CREATE" and step.after != last)
            if is_another:
                _add(spans, key, since, step.id)
                return True
            is_attached = step.operation == "UPDATE" and self._refers(step.after)
            if is_attached or step.key != key:
                # What the row had before this change is theirs.
                _add(spans, key, since, step.id)
                spans[KeySpan(step.key, step.id, UUID(int=step.id.int + 1))] = None
                return self._is_theirs(step.after) if is_attached else self._later(step, spans)
            if step.operation != "EVENT":
                last = step.before if step.operation == "DELETE" else None
        _add(spans, key, since, None)
        return True

    def _earlier(self, came: FollowedChange, spans: dict[KeySpan, None]) -> bool:
        """Add when a row that came to the object referred to nobody; return whether it had no other one."""
        found: list[KeySpan] = []
        key, end = came.first_key, came.id
        while True:
            first = previous = None
            for step in self._of_key(key, Q(id__lt=end), "-id"):
                if step.operation == "DELETE" or step.key != key:
                    # Of another row.
                    break
                if step.operation == "UPDATE" and self._refers(step.before):
                    return self._is_theirs(step.before)
                first = step.id
                if step.operation == "CREATE":
                    break
                if step.first_key != key:
                    previous = step
                    break
            if first is not None:
                found.append(KeySpan(key, first, end))
            if previous is None:
                spans.update(dict.fromkeys(found))
                return True
            key, end = previous.first_key, previous.id

    def _of_key(self, key: str, within: Q, order: str) -> Iterator[FollowedChange]:
        own = Q(primary_key=key) | Q(previous_primary_key=key)
        return _steps(self._log.filter(own & within).order_by(order))

    def _is_theirs(self, image: Mapping[str, Any]) -> bool:
        return any(each.items() <= image.items() for each in self._values)

    def _refers(self, image: Mapping[str, Any]) -> bool | None:
        """Return whether a row refers to anything; None if its values do not tell."""
        known = [names for names in self._references if all(name in image for name in names)]
        if not known:
            return None
        return any(all(image[name] is not None for name in names) for names in known)


def _steps(changes: QuerySet[Change]) -> Iterator[FollowedChange]:
    for id, key, previous, operation, before, after in changes.values_list(*_FIELDS).iterator(_CHUNK):
        yield FollowedChange(id, key, key if previous is None else previous, operation, before, after)


def _add(spans: dict[KeySpan, None], key: str, since: UUID, end: UUID | None) -> None:
    spans[KeySpan(key, since, end, is_open=True)] = None
