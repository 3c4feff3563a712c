"""Find the changes for a handler in the log, in commit order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.db.models import BigIntegerField, BooleanField, F, FloatField, Func, JSONField, Q, Value
from django.db.models.lookups import Exact

from bemi_django import conf
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.places import names_schema, table_name
from bemi_django.models import Change
from bemi_django.schema import tenancy
from bemi_django.schema.database_names import database_name
from bemi_django.wire.ids import change_id, source_of

if TYPE_CHECKING:
    from bemi_django.handlers.registry import Handler

_PAGE = 10
FIRST = UUID(int=0)
LAST = UUID(int=(1 << 128) - 1)
#: What Python raises for JSON that PostgreSQL accepts: it is nested too deeply.
UNREADABLE = (RecursionError, ValueError, MemoryError)


class _Same(Func):
    """Tell whether a column is known to have the same value before and after, to the last digit."""

    template = "coalesce(%(expressions)s, false)"
    arg_joiner = " = "
    output_field = BooleanField()

    def __init__(self, column: str) -> None:
        super().__init__(*(_value(side, column) for side in ("before", "after")))


class _Source(Func):
    """Extract the bits of an id that identify its server and database."""

    template = (
        "(pg_catalog.concat('x', pg_catalog.\"right\"(%(expressions)s::pg_catalog.text, 8))"
        "::pg_catalog.bit(32)::pg_catalog.int8 OPERATOR(pg_catalog.&) 1073741823)"
    )
    output_field = BigIntegerField()


class _Age(Func):
    """The seconds since a moment, by the clock of the log."""

    template = (
        "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) %(expressions)s)"
    )
    output_field = FloatField()


class UnreadableChange(NamedTuple):
    """A change that Python cannot read; ``pk`` is its id, as that of a ``Change``."""

    pk: UUID
    error: BaseException


class FeedSpan(NamedTuple):
    """The changes that one server wrote, with ids after ``last`` and up to ``end``."""

    system_identifier: str
    last: UUID
    end: UUID

    def condition(self, database: str) -> Q:
        """Return the condition for changes of the span in a database."""
        source = source_of(self.system_identifier, database)
        return Q(Exact(_Source(F("id")), source), id__gt=self.last, id__lte=self.end)


class Feed:
    """The changes for one handler, of the database with an alias."""

    def __init__(self, handler: Handler, alias: str) -> None:
        log = self._log = Change.objects.using(conf.destination())
        self._database = database_name(alias)
        if handler.model is None:
            changes = log.filter(database=self._database)
        elif tenancy.has_tenants(alias) and not names_schema(handler.model):
            changes = log.filter(database=self._database, table=table_name(handler.model)[1])
        else:
            changes = log.for_model(handler.model, alias)
        if "GAP" in handler.operations:
            changes = changes | log.filter(operation="GAP", database=self._database)
        changes = changes.filter(operation__in=handler.operations, diverged=False)
        if handler.columns:
            same = reduce(and_, (Q(_Same(column)) for column in handler.columns))
            changes = changes.exclude(same, operation="UPDATE")
        if not handler.is_recursive:
            changes = changes.context_not({"handler": handler.name})
        self._all, self._narrow = changes.asc(), handler.narrow

    @property
    def _changes(self) -> ChangeQuerySet:
        # Asked each time: what somebody may see is another thing tomorrow.
        return self._all if self._narrow is None else self._narrow(self._all).asc()

    def of(self, span: FeedSpan) -> ChangeQuerySet:
        """Return the handler's changes in a span, in commit order."""
        return self._changes.filter(span.condition(self._database))

    def age(self, span: FeedSpan) -> float:
        """Return how many seconds ago the first change of a span was written to the log; 0 if it has none."""
        ages = self.of(span).values_list(_Age(F("created_at")), flat=True)
        return max(ages.first() or 0.0, 0.0)

    def read(self, ids: Sequence[UUID]) -> Iterator[Change | UnreadableChange]:
        """Yield the changes with these ids in order, few of them in memory: rows may be large."""
        changes = self._changes
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            try:
                found: list[Change] = list(changes.filter(pk__in=page))
            except UNREADABLE:
                for pk in page:
                    yield from self._read_one(changes, pk)
            else:
                yield from found

    def _read_one(self, changes: ChangeQuerySet, pk: UUID) -> Iterator[Change | UnreadableChange]:
        try:
            yield from list(changes.filter(pk=pk))
        except UNREADABLE as error:
            yield UnreadableChange(pk, error)

    def has_passed(self, span: FeedSpan) -> bool:
        """Tell whether the span has any changes, for this handler or not."""
        return self._log.filter(span.condition(self._database)).exists()


def id_before(sequence: int) -> UUID:
    """Return the id just before all changes committed at a sequence number or later."""
    return _before(change_id(sequence, 0, 0))


def id_before_gap(sequence: int) -> UUID:
    """Return the id just before the GAP that ends at a sequence number."""
    return _before(change_id(max(sequence - 8, 0), 0xFFFFFFFF, 0))


def id_before_change(change: Change) -> UUID:
    """Return the id just before that of a change."""
    return _before(change.pk.bytes)


def _before(identifier: bytes) -> UUID:
    return UUID(int=int.from_bytes(identifier, "big") - 1)


def _value(side: str, column: str) -> Func:
    return Func(F(side), Value(column), function="pg_catalog.jsonb_extract_path", output_field=JSONField())
