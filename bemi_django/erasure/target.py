"""The changes of a table whose values are to be erased."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from bemi_django.log.conditions import as_jsonb, in_span, in_table, is_erased
from bemi_django.log.identity import KeySpan
from bemi_django.log.places import Place


class Target(NamedTuple):
    """Changes of a table: of one row by its keys, of rows by values in them, or both.

    Attributes:
        place: The table.
        kept: The columns of the key, and those by which its rows refer to others.
        spans: The keys that the row had.
        values: ``{column: value}``: rows with all of them, before or after a change.
        reason: Why its rows are among them, for the plan.
        texts: Keys that look like numbers, and are texts.
    """

    place: Place
    kept: tuple[str, ...]
    spans: tuple[KeySpan, ...] = ()
    values: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""
    texts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The table as ``schema.table``."""
        return f"{self.place.schema}.{self.place.table}"

    @property
    def condition(self) -> Q:
        """The condition for its changes."""
        conditions = [in_span(span) for span in self.spans]
        for each in self.values:
            wanted = as_jsonb(each)
            conditions.append(Q(before__contains=wanted) | Q(after__contains=wanted))
        # Only these have values.
        is_row = Q(operation__in=("CREATE", "UPDATE", "DELETE", "BASELINE", "EVENT"))
        return in_table(self.place) & is_row & reduce(or_, conditions)

    @property
    def left(self) -> Q:
        """The condition for those of its changes that are not erased yet."""
        return self.condition & ~is_erased()

    def joined(self, other: Target) -> Target:
        """Return the changes of both, which are of one table."""
        values = [*self.values, *(each for each in other.values if each not in self.values)]
        kept = dict.fromkeys((*self.kept, *other.kept))
        reasons = dict.fromkeys(filter(None, (self.reason, other.reason)))
        return self._replace(kept=tuple(kept), values=tuple(values), reason=", ".join(reasons))


def as_json(targets: Iterable[Target]) -> list[dict[str, Any]]:
    """Return targets as JSON has them."""
    return [
        {
            **target._asdict(),
            "spans": [
                {
                    "key": span.key,
                    "start": span.start and str(span.start),
                    "end": span.end and str(span.end),
                    "is_open": span.is_open,
                    "others": [str(other) for other in span.others],
                }
                for span in target.spans
            ],
        }
        for target in targets
    ]


def from_json(found: Iterable[Mapping[str, Any]]) -> list[Target]:
    """Return the targets that :func:`as_json` has written."""
    return [
        Target(
            Place(*each["place"]),
            tuple(each["kept"]),
            tuple(_span(**span) for span in each["spans"]),
            tuple(each["values"]),
            each["reason"],
            tuple(each["texts"]),
        )
        for each in found
    ]


def _span(key: str, start: str | None, end: str | None, is_open: bool, others: list[str]) -> KeySpan:
    bounds = [None if bound is None else UUID(bound) for bound in (start, end)]
    return KeySpan(key, bounds[0], bounds[1], is_open, tuple(map(UUID, others)))
