"""The order of lists: that of ids, or that of time if several servers write to the log.

Ids are in the order of commits of one server and of those that it replaced. Servers that run at the same time
have ids from different ranges, so in the order of ids one hides the changes of another from the first page.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connections
from django.db.models import BooleanField, DateTimeField, F, Func, UUIDField, Value

from bemi_django import destinations
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.wire.ids import change_id as id_of
from bemi_django.wire.ids import sequence_in

#: The greatest numbers that an id has room for.
_LAST_ORDINAL, _LAST_SOURCE = 2**32 - 1, 2**30 - 1

_SERVERS = "SELECT pg_catalog.count(DISTINCT system_identifier) FROM _bemi.checkpoint"


class ListPlace(NamedTuple):
    """The place of a change in a list."""

    committed_at: datetime
    id: UUID


class ListOrder(NamedTuple):
    """An order of changes.

    Attributes:
        by_time: Whether changes are in the order of their time and then of their id, instead of their id.
    """

    by_time: bool

    def apply(self, changes: ChangeQuerySet, *, is_newer: bool) -> ChangeQuerySet:
        """Return the changes in this order, the oldest first if the list is read towards the present."""
        sign = "" if is_newer else "-"
        return changes.order_by(*([f"{sign}committed_at"] if self.by_time else []), f"{sign}id")

    def beyond(self, changes: ChangeQuerySet, place: ListPlace, *, is_newer: bool) -> ChangeQuerySet:
        """Return the changes on the newer or the older side of a place."""
        return self._compared(changes, ">" if is_newer else "<", place)

    def up_to(self, changes: ChangeQuerySet, place: ListPlace, *, is_newer: bool) -> ChangeQuerySet:
        """Return the changes up to a place in the direction of reading, and that one."""
        return self._compared(changes, "<=" if is_newer else ">=", place)

    def place(self, change_id: UUID) -> ListPlace | None:
        """Return the place of an id, or None if it is needed and the log has no change of its transaction."""
        if not self.by_time:
            return ListPlace(datetime.min, change_id)
        # The changes of a transaction have one time, and ids that begin alike.
        first, last = ids_of_transaction(sequence_in(change_id.bytes))
        same = Change.objects.filter(id__gte=first, id__lte=last).order_by("id")
        found = same.values_list("committed_at", flat=True).first()
        return None if found is None else ListPlace(found, change_id)

    def _compared(self, changes: ChangeQuerySet, operator: str, place: ListPlace) -> ChangeQuerySet:
        if not self.by_time:
            lookup = {"<": "lt", ">": "gt", "<=": "lte", ">=": "gte"}[operator]
            return changes.filter(**{f"id__{lookup}": place.id})
        # As a comparison of rows, which an index on both columns answers.
        row = Func(F("committed_at"), F("id"), function="ROW")
        values = Value(place.committed_at, DateTimeField()), Value(place.id, UUIDField())
        compared = Func(
            row,
            Func(*values, function="ROW"),
            template="%(expressions)s",
            arg_joiner=f" {operator} ",
            output_field=BooleanField(),
        )
        return changes.filter(compared)


def ids_of_transaction(sequence: int) -> tuple[UUID, UUID]:
    """Return the lowest and the highest id that a change of a transaction can have.

    Args:
        sequence: The sequence number of the transaction.
    """
    ends = (id_of(sequence, 0, 0), id_of(sequence, _LAST_ORDINAL, _LAST_SOURCE))
    return UUID(bytes=ends[0]), UUID(bytes=ends[1])


def order_of_list(*, is_one_server: bool = False) -> ListOrder:
    """Return the order of a list of changes.

    Args:
        is_one_server: Whether all changes of the list are of one server, whichever writes to the log.
    """
    if is_one_server or destinations.are_all_meant():
        return ListOrder(by_time=not is_one_server)
    with connections[Change.objects.db].cursor() as cursor:
        cursor.execute(_SERVERS)
        return ListOrder(by_time=cursor.fetchone()[0] > 1)
