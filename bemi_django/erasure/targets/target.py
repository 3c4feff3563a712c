"""The changes of a table whose values are to be erased."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, reduce
from operator import or_
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from bemi_django.erasure.targets.held_values import During, HeldValues, holding_any, joined
from bemi_django.erasure.targets.row_spans import in_spans
from bemi_django.log.conditions import ERASED_SIDES, as_jsonb, in_table, is_erased
from bemi_django.log.identity import KeySpan
from bemi_django.log.lossless_json import loads
from bemi_django.log.places import Place

# Keys that look like numbers may be texts, such as that of a passport, which mean something.
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
# With a zero before other digits, it is a text.
_NUMBER_OF_JSON = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)


SIDES = ("before", "after")
#: Operations of changes that have values.
HAVING_VALUES = ("CREATE", "UPDATE", "DELETE", "BASELINE", "EVENT")
#: Those of rows. Events have no rows, so they are of nobody else, and tell no key of one.
OF_ROWS = tuple(each for each in HAVING_VALUES if each != "EVENT")


class Half(NamedTuple):
    """A side of a change that is about an object, where the other one is about another."""

    change: UUID
    side: str


class _Fields(NamedTuple):
    """Changes of a table: of one row by its keys, of rows by values in them, or both.

    Attributes:
        place: The table.
        kept: The columns of the key, and those by which its rows refer to others.
        spans: The keys that the row had.
        values: ``{column: value}``: rows with all of them, before or after a change.
        reasons: Why its rows are among them, for the plan.
        texts: Keys, and values by which its rows refer to others, that look like numbers and are texts.
        key: The columns of the key, by all names that they had.
        references: All columns by which its rows refer to the object, or to others like it.
        halves: Changes of which one side is about the object, beside those that ``values`` tell.
        during: Like ``values``, for a time.
        present: The table, if ``place`` is a name that it had before.
    """

    place: Place
    kept: tuple[str, ...]
    spans: tuple[KeySpan, ...] = ()
    values: tuple[Mapping[str, Any], ...] = ()
    reasons: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    references: tuple[tuple[str, ...], ...] = ()
    halves: tuple[Half, ...] = ()
    during: tuple[During, ...] = ()
    present: Place | None = None


class Target(_Fields):
    """Changes of a table: of one row by its keys, of rows by values in them, or both."""

    @property
    def name(self) -> str:
        """The table as ``schema.table``."""
        return f"{self.place.schema}.{self.place.table}"

    def texts_of_key(self, rows: Iterable[Mapping[str, Any]]) -> set[str]:
        """Return the texts in the columns of the key; if the rows lack these, those that are known."""
        values = [row[name] for row in rows for name in self.key if row.get(name) is not None]
        return {value for value in values if isinstance(value, str)} if values else set(self.texts)

    @property
    def condition(self) -> Q:
        """The condition for its changes."""
        is_row = Q(operation__in=HAVING_VALUES)
        return in_table(self.place) & is_row & (self.of_side("before") | self.of_side("after"))

    @property
    def left(self) -> Q:
        """The condition for those of its changes that are not erased yet, as far as they are about it."""
        left = ~is_erased()
        for side, other in (SIDES, SIDES[::-1]):
            left |= Q(unavailable__contains=as_jsonb({ERASED_SIDES: [other]})) & self.of_side(side)
        return self.condition & left

    @property
    def may_be_half(self) -> Q:
        """The condition for those of its changes of which one side may be about another object."""
        if not self.values and not self.halves and not self.during:
            return Q(pk__in=[])
        is_whole = self._of_row | (self._holding("before") & self._holding("after"))
        return Q(operation="UPDATE") & ~is_whole

    def of_side(self, side: str) -> Q:
        """Return the condition for changes of which one side is about the object, whatever the other is."""
        known = [half.change for half in self.halves if half.side == side]
        return self._of_row | self._holding(side) | Q(pk__in=known)

    @cached_property
    def always(self) -> HeldValues:
        """What refers to the object all of the time."""
        return HeldValues(map(During, self.values))

    @cached_property
    def timed(self) -> HeldValues:
        """What refers to the object for a time."""
        return HeldValues(self.during)

    def is_in_span(self, change: UUID, key: str | None) -> bool:
        """Return whether a change is one of its row under a key."""
        return any(_is_in(span, change) for span in self._spans_of.get(key, ()))

    def halves_of(self, change: UUID) -> Collection[str]:
        """Return the sides of a change that are known to be about the object."""
        return self._halves_of.get(change, ())

    @cached_property
    def _spans_of(self) -> Mapping[str | None, list[KeySpan]]:
        found: dict[str | None, list[KeySpan]] = {}
        for span in self.spans:
            found.setdefault(span.key, []).append(span)
        return found

    @cached_property
    def _halves_of(self) -> Mapping[UUID, list[str]]:
        found: dict[UUID, list[str]] = {}
        for half in self.halves:
            found.setdefault(half.change, []).append(half.side)
        return found

    @property
    def _of_row(self) -> Q:
        return in_spans(self.spans)

    def _holding(self, side: str) -> Q:
        timed = {name: [each for each in self.during if each.side == name] for name in ("", *SIDES)}
        found = holding_any(side, (*map(During, self.values), *timed[""]))
        if side == "before":
            return found | holding_any(side, timed["before"])
        # What a change has left as it was refers to what it has referred to before.
        kept = holding_any(side, timed["before"], is_kept=True)
        return found | kept | holding_any(side, timed["after"], is_kept=False)

    def joined(self, other: Target) -> Target:
        """Return the changes of both, which are of one table."""
        kept = dict.fromkeys((*self.kept, *other.kept))
        texts = dict.fromkeys((*self.texts, *other.texts))
        return self._replace(
            kept=tuple(kept),
            spans=tuple(dict.fromkeys((*self.spans, *other.spans))),
            values=tuple(joined(self.values, other.values)),
            reasons=tuple(dict.fromkeys((*self.reasons, *other.reasons))),
            texts=tuple(texts),
            references=tuple(dict.fromkeys((*self.references, *other.references))),
            halves=tuple(dict.fromkeys((*self.halves, *other.halves))),
            during=tuple(joined(self.during, other.during)),
        )


def _is_in(span: KeySpan, change: UUID) -> bool:
    if span.start is not None and (change <= span.start if span.is_open else change < span.start):
        return False
    return (span.end is None or change < span.end) and change not in span.others


def looks_like_number(text: str) -> bool:
    """Return whether a key of the log may be that of a number."""
    return _NUMBER.fullmatch(text) is not None


def is_text(log: Any, columns: Iterable[str], key: str) -> bool:
    """Return whether rows have a key as a text, although it looks like a number or like several values.

    Args:
        log: The changes of the table.
        columns: The columns of its key.
        key: The key.
    """
    if not looks_like_number(key) and not key.startswith("["):
        return False
    own = Q(primary_key=key) | Q(previous_primary_key=key)
    return bool(log.filter(own & _has(columns, key)).exists())


def values_of_key(key: str, texts: Collection[str], log: Any, columns: Iterable[str]) -> Iterator[Any]:
    """Yield what columns may have that refer to a key.

    Args:
        key: The key, as the log has it.
        texts: Keys that look like numbers, and are texts.
        log: If no change of its row is left, those of the rows that refer to it, which tell; otherwise None.
        columns: The names of their column.
    """
    is_number = key not in texts and _NUMBER_OF_JSON.fullmatch(key) is not None
    if is_number:
        yield loads(key)
    if not is_number or (log is not None and log.filter(_has(columns, key)).exists()):
        yield key


def may_be_key(log: Any, target: Target, key: str, value: Any) -> bool:
    """Return whether a key is printed of a value, as far as the log has rows with it.

    In JSON, the text ``null`` is another key than what is printed so.

    Args:
        log: All changes.
        target: The rows.
        key: The key.
        value: The value.
    """
    own = in_table(target.place) & (Q(primary_key=key) | Q(previous_primary_key=key))
    rows = log.filter(own, operation__in=HAVING_VALUES)
    return rows.filter(_has(target.key, value)).exists() or not rows.exists()


def texts_like_numbers(found: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the values of rows that look like numbers, and are texts."""
    values = (value for row in found for value in row.values() if isinstance(value, str))
    return tuple(dict.fromkeys(filter(looks_like_number, values)))


def _has(columns: Iterable[str], value: Any) -> Q:
    conditions = (as_jsonb({name: value}) for name in columns)
    return reduce(
        or_, (Q(before__contains=each) | Q(after__contains=each) for each in conditions), Q(pk__in=[])
    )
