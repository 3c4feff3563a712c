"""The one import from the log to ``bemi_django.revert``.

A revert reads changes, so ``bemi_django.revert`` imports the model and its queryset. Their method
``revert()`` is a convenience that leads back: this module imports the revert when it is called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models

from bemi_django.exceptions import BeforeHistory
from bemi_django.log.places import Place, complete_from

if TYPE_CHECKING:
    from bemi_django.revert import OnConflict, Plan

_Rows = TypeVar("_Rows", bound="models.QuerySet[Any]")


class Revertible:
    """A change, or changes that can be iterated over."""

    def revert(
        self,
        *,
        dry_run: bool = False,
        on_conflict: OnConflict = "stop",
        cascade: bool = True,
        fields: Collection[str] | None = None,
        values: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Plan:
        """Undo the change, or these changes in one transaction; see :func:`bemi_django.revert.revert`."""
        from bemi_django.revert import revert

        changes: Any = self if isinstance(self, Iterable) else [self]
        return revert(
            changes,
            dry_run=dry_run,
            on_conflict=on_conflict,
            cascade=cascade,
            fields=fields,
            values=values,
            reason=reason,
        )


class Restorable(Revertible):
    """Changes of rows that can be put back to how they were."""

    def restore(
        self,
        moment: datetime | models.Model,
        *,
        dry_run: bool = False,
        on_conflict: OnConflict = "stop",
        fields: Collection[str] | None = None,
        many_to_many: bool = True,
        reason: str | None = None,
    ) -> Plan:
        """Put the rows of these changes back to how they were at a moment.

        All of these changes that came later are undone in one transaction. Rows that were created since are
        deleted, and rows that were deleted since are inserted again. The whole history of an object also puts
        back its many-to-many fields, unless they have a model of their own as ``through``.
        Example: ``todo.history.restore(yesterday, fields=["task"])``.

        Args:
            moment: A time, or the change after which the rows were as they are to be.
            dry_run: See :func:`bemi_django.revert.revert`, also for the other arguments.
            on_conflict: What to do about what others write in the meantime.
            fields: Names of the fields (or columns) to put back; by default all.
            many_to_many: Whether the many-to-many fields of an object are put back, too.
            reason: Why, for the context of the changes.

        Returns:
            The plan, applied or not.

        Raises:
            BemiError: Later changes were removed from the log, or it never had them.
            RevertConflict: Conflicts prevent it; nothing was written.
        """
        changes: Any = self
        later: Revertible = later_rows(changes, moment, many_to_many=many_to_many)
        return later.revert(dry_run=dry_run, on_conflict=on_conflict, fields=fields, reason=reason)


def later_rows(changes: _Rows, moment: datetime | models.Model, *, many_to_many: bool = True) -> _Rows:
    """Return the changes of rows that came after a moment.

    Args:
        changes: Changes, for example of one object.
        moment: A time, or a change.
        many_to_many: Whether to add those of many-to-many fields, if this is the whole history of an object.
            What the transaction of the change did to them is a part of it.

    Raises:
        BemiError: Later changes were removed from the log, or it never had them.
    """
    change: Any = moment
    is_time = isinstance(moment, datetime)
    time: datetime = moment if isinstance(moment, datetime) else change.committed_at
    condition = {"committed_at__gt": time} if is_time else {"pk__gt": change.pk}
    whole: Any = changes
    later: Any = whole.filter(**condition, diverged=False)
    places = later.order_by().values_list("database", "schema", "table").distinct()
    checked = {Place(*names) for names in places}
    # What was removed from the log of these may be all that came later.
    history = whole.whole_history if many_to_many else None
    members_of = frozenset(history.member_places() if history else ())
    checked |= members_of
    for place in sorted(checked):
        complete = complete_from(place)
        if complete is not None and time < complete:
            name = f"{place.schema}.{place.table}"
            advice = ": pass many_to_many=False to leave its rows as they are" if place in members_of else ""
            raise BeforeHistory(
                f"the log of {name} is complete only from {complete} on; {time} is earlier{advice}", complete
            )
    if history:
        members = [found.filter(**condition, diverged=False) for found in history.of_members()]
        if not is_time:
            same = {"transaction_id": change.transaction_id, "position": change.position}
            members = [found.exclude(**same) for found in members]
        later = history.together(later, members)
    found: _Rows = later.filter(operation__in=("CREATE", "UPDATE", "DELETE"))
    return found
