"""The changes of the log that a handler is to see, in the order of their commits."""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connections
from django.db.models import BigIntegerField, BooleanField, F, Func, JSONField, Q, Value
from django.db.models.lookups import Exact

from bemi_django import conf
from bemi_django.models import Change
from bemi_django.querysets import ChangeQuerySet
from bemi_django.wal.rows import change_id, source_of

if TYPE_CHECKING:
    from bemi_django.handlers import Handler

NOTHING = UUID(int=0)


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


class Feed:
    """What is in the log for one handler; ``alias`` is the database whose changes they are."""

    def __init__(self, handler: Handler, alias: str) -> None:
        log = Change.objects.using(conf.destination())
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

    def after(self, last: UUID, system_identifier: str, limit: int) -> list[Change]:
        """The next changes of one server, ``limit`` at most."""
        return list(self._after(last, system_identifier)[:limit])

    def count_after(self, last: UUID, system_identifier: str, limit: int) -> int:
        """How many changes are left; counts to ``limit``."""
        return self._after(last, system_identifier)[:limit].count()

    def before(self, moment: datetime) -> UUID | None:
        """The place before the first change that was committed at the moment or later."""
        first = self._changes.filter(committed_at__gte=moment).values_list("id", flat=True).first()
        return None if first is None else UUID(int=first.int - 1)

    def _after(self, last: UUID, system_identifier: str) -> ChangeQuerySet:
        source = source_of(system_identifier, self._database)
        return self._changes.filter(Exact(_Source(F("id")), source), id__gt=last)


def place(lsn: int) -> UUID:
    """The place in the log before the changes that were committed at an LSN or later."""
    return _before(change_id(lsn, 0, 0))


def place_of_gap(lsn: int) -> UUID:
    """The place before the gap that ends at an LSN."""
    return _before(change_id(max(lsn - 8, 0), 0xFFFFFFFF, 0))


def _before(identifier: bytes) -> UUID:
    return UUID(int=int.from_bytes(identifier, "big") - 1)


def _value(side: str, column: str) -> Func:
    return Func(F(side), Value(column), function="jsonb_extract_path", output_field=JSONField())
