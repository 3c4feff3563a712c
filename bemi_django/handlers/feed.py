"""The changes of the log that a handler is to see, in the order of their commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.db import connections
from django.db.models import BigIntegerField, BooleanField, F, Func, JSONField, Q, Value
from django.db.models.lookups import Exact

from bemi_django import conf
from bemi_django.log.querysets import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.wire.ids import change_id, source_of

if TYPE_CHECKING:
    from bemi_django.handlers.registry import Handler

_PAGE = 10
FIRST = UUID(int=0)
LAST = UUID(int=(1 << 128) - 1)


class _Same(Func):
    """Whether a column is known to have the same value before and after, to the last digit."""

    template = "coalesce(%(expressions)s, false)"
    arg_joiner = " = "
    output_field = BooleanField()

    def __init__(self, column: str) -> None:
        super().__init__(*(_value(side, column) for side in ("before", "after")))


class _Source(Func):
    """The bits of an id that say which server and database it is from."""

    template = "(('x' || right(%(expressions)s::text, 8))::bit(32)::bigint & 1073741823)"
    output_field = BigIntegerField()


class FeedSpan(NamedTuple):
    """The part of the log that one server wrote, behind the place ``last`` and not behind ``end``.

    The ids of another server, of other positions in another WAL, need not be looked at.
    """

    system_identifier: str
    last: UUID
    end: UUID

    def condition(self, database: str) -> Q:
        source = source_of(self.system_identifier, database)
        return Q(Exact(_Source(F("id")), source), id__gt=self.last, id__lte=self.end)


class Feed:
    """What is in the log for one handler; ``alias`` is the database whose changes they are."""

    def __init__(self, handler: Handler, alias: str) -> None:
        log = self._log = Change.objects.using(conf.destination())
        self._database = str(connections[alias].settings_dict["NAME"])
        changes = log.for_model(handler.model, alias)
        if "GAP" in handler.operations:
            changes = changes | log.filter(operation="GAP", database=self._database)
        changes = changes.filter(operation__in=handler.operations)
        if handler.columns:
            same = reduce(and_, (Q(_Same(column)) for column in handler.columns))
            changes = changes.exclude(same, operation="UPDATE")
        if not handler.is_recursive:
            changes = changes.context_not({"handler": handler.name})
        self._changes = changes.asc()

    def of(self, span: FeedSpan) -> ChangeQuerySet:
        """Those of a span, in order."""
        return self._changes.filter(span.condition(self._database))

    def read(self, ids: Sequence[UUID]) -> Iterator[Change]:
        """The changes of these ids, in order, a few of them in memory at a time: rows may be large."""
        for start in range(0, len(ids), _PAGE):
            yield from self._changes.filter(pk__in=ids[start : start + _PAGE])

    def has_passed(self, span: FeedSpan) -> bool:
        """Whether there are changes in the span at all, be they for this handler or not."""
        return self._log.filter(span.condition(self._database)).exists()


def place(lsn: int) -> UUID:
    """The place in the log before the changes that were committed at an LSN or later."""
    return _before(change_id(lsn, 0, 0))


def place_of_gap(lsn: int) -> UUID:
    """The place before the gap that ends at an LSN."""
    return _before(change_id(max(lsn - 8, 0), 0xFFFFFFFF, 0))


def place_before(change: Change) -> UUID:
    """The place just before a change."""
    return _before(change.pk.bytes)


def _before(identifier: bytes) -> UUID:
    return UUID(int=int.from_bytes(identifier, "big") - 1)


def _value(side: str, column: str) -> Func:
    return Func(F(side), Value(column), function="jsonb_extract_path", output_field=JSONField())
