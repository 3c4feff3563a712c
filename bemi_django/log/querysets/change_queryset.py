"""The queryset that asks for changes of one log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models, router

from bemi_django import conf, destinations
from bemi_django.exceptions import BemiError
from bemi_django.log import conditions, object_changes
from bemi_django.log.places import Place, place_of
from bemi_django.log.querysets.changes_everywhere import ChangesEverywhere
from bemi_django.log.querysets.object_history import ObjectHistory, chosen_alias
from bemi_django.log.undo import Restorable
from bemi_django.log.values.field_columns import columns_of
from bemi_django.wire import UNVERIFIED_KEY

if TYPE_CHECKING:
    from bemi_django.log.change import Change  # noqa: F401 - the class of the rows

_ANY = object()


class ChangeQuerySet(Restorable, models.QuerySet["Change"]):
    """Query the log; all methods can be chained, also with Django's own.

    Results are in commit order. Example: ``Change.objects.for_object(todo).updated().by(user)``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        conf.table()  # raises if the setting is not valid: the model has the default name then
        super().__init__(*args, **kwargs)
        self._of: type[models.Model] | None = None
        self._history: ObjectHistory | None = None

    def _clone(self) -> ChangeQuerySet:
        clone: ChangeQuerySet = super()._clone()  # type: ignore[misc]
        clone._of, clone._history = self._of, self._history
        return clone

    def using(self, alias: str | None) -> ChangeQuerySet:
        """Return the same changes of the log of a destination; a whole history is that log's."""
        found: ChangeQuerySet = super().using(alias)
        if self._history is not None and self.whole_history is not None:
            found._history = self._history.of_log(alias)
        return found

    def __getstate__(self) -> dict[str, Any]:
        # It has the changes that it was chosen from, and Django would read all of them.
        return {**super().__getstate__(), "_history": None}

    @property
    def whole_history(self) -> ObjectHistory | None:
        """The object whose whole history this is, and its other changes; None if it is a part of one."""
        found = self._history
        return found if found is not None and found.is_whole(self) else None

    def _with_model(self, model: type[models.Model]) -> ChangeQuerySet:
        """Remember whose fields say what values may be given."""
        self._of = model
        return self

    def for_model(self, model: type[models.Model], using: str | None = None) -> ChangeQuerySet:
        """Return changes of a model's table.

        Args:
            model: The model; a proxy stands for the model that it is based on.
            using: Alias of the database that was changed; by default the one that the router writes to.
        """
        return self.of_table(place_of(model, using or router.db_for_write(model)))._with_model(model)

    def everywhere(self) -> ChangesEverywhere:
        """Return the changes of all destinations (``BEMI_DESTINATIONS``) as one list, in order of their time.

        Example: ``Change.objects.everywhere().for_object(todo).updated()[:20]``.
        """
        return ChangesEverywhere([self.using(alias) for alias in destinations.aliases()])

    def for_object(
        self, instance: models.Model, *, related: bool | Collection[str] = False
    ) -> ChangeQuerySet:
        """Return changes of one object, under all primary keys that it had; see ``log.identity``.

        With multi-table inheritance, changes of its rows in the parents' tables are included. Of several
        destinations, the one is asked that has them.

        Args:
            instance: A saved or deleted instance.
            related: True to include changes of rows that refer to the object: children, generic relations
                and rows of many-to-many tables, which belong to both ends. A list of relation names, such
                as ``["tags", "comment"]``, includes only those.

        Raises:
            BemiError: ``related`` names a relation that the model does not have, or several destinations have
                the changes, and none was chosen with ``using()``.
        """
        asked = self._asking(object_changes.places_of_object(instance, related))
        log = self.model._base_manager.using(asked.db)
        condition = object_changes.of_object(
            lambda here: object_changes.TableLog(log.filter(here)), instance, related
        )
        found = asked.filter(condition)._with_model(instance.__class__)
        found._history = ObjectHistory(self, instance, found.query.where.clone(), chosen_alias(found))
        return found

    def of_table(self, place: Place) -> ChangeQuerySet:
        """Return changes of a table, whether a model has it or not.

        Raises:
            BemiError: Several destinations have them, and none was chosen with ``using()``.
        """
        return self._asking([place]).filter(conditions.in_table(place))

    def _asking(self, places: Iterable[Place]) -> ChangeQuerySet:
        """Return the same of the destination that has all changes of tables, unless one was chosen."""
        if chosen_alias(self) is not None or len(destinations.aliases()) == 1:
            return self
        found = sorted({alias for place in places for alias in destinations.of_table(*place)})
        if len(found) == 1:
            return self.using(found[0])
        raise BemiError(
            f"the changes asked for are in {' and '.join(found)} (BEMI_DESTINATIONS): ask "
            "Change.objects.everywhere(), or one of them with Change.objects.using()"
        )

    def _merge_sanity_check(self, other: models.QuerySet[Any]) -> None:
        """Refuse what Django would ask of one database alone."""
        super()._merge_sanity_check(other)  # type: ignore[misc]
        if chosen_alias(self) != chosen_alias(other) and len(destinations.aliases()) > 1:
            raise BemiError("changes of two destinations cannot be combined: ask Change.objects.everywhere()")

    def of_key(self, primary_key: str) -> ChangeQuerySet:
        """Return changes of rows that have or had a primary key, given as the log stores it."""
        return self.filter(conditions.with_key(primary_key))

    def created(self) -> ChangeQuerySet:
        """Return inserted rows."""
        return self.filter(operation="CREATE")

    def updated(self) -> ChangeQuerySet:
        """Return updated rows."""
        return self.filter(operation="UPDATE")

    def deleted(self) -> ChangeQuerySet:
        """Return deleted rows."""
        return self.filter(operation="DELETE")

    def before(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes whose row had these values before."""
        return self.filter(conditions.in_row("before", values, self._of))

    def before_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes whose row did not have these values before."""
        return self.exclude(conditions.in_row("before", values, self._of))

    def after(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes whose row had these values afterwards."""
        return self.filter(conditions.in_row("after", values, self._of))

    def after_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes whose row did not have these values afterwards."""
        return self.exclude(conditions.in_row("after", values, self._of))

    def context(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes made in a context that contains these values."""
        return self.filter(conditions.in_context(values))

    def context_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes made in a context that does not contain these values."""
        return self.exclude(conditions.in_context(values))

    def field_changed(self, column: str, *, from_: Any = _ANY, to: Any = _ANY) -> ChangeQuerySet:
        """Return updates that gave a column another value, also if it is not stored.

        Args:
            column: Name of the column, or of a field after ``for_model()``.
            from_: Value before the update; any by default.
            to: Value after the update; any by default.
        """
        changes = self.updated().filter(conditions.changed(columns_of(column, self._of)))
        if from_ is not _ANY:
            changes = changes.before({column: from_})
        return changes if to is _ANY else changes.after({column: to})

    def by(self, user: Any) -> ChangeQuerySet:
        """Return changes made by a user, an instance or its primary key (``user_id`` of the context)."""
        return self.filter(conditions.by_user(user))

    def in_request(self, request_id: str) -> ChangeQuerySet:
        """Return changes made in one request (``request_id`` of the context)."""
        return self.context({"request_id": request_id})

    def outside(self) -> ChangeQuerySet:
        """Return changes made without an application's context, for example in psql."""
        return self.filter(conditions.outside())

    def unverified(self) -> ChangeQuerySet:
        """Return changes with a context that no application has signed (``BEMI_CONTEXT_KEYS``)."""
        return self.context({UNVERIFIED_KEY: True})

    def in_transaction(self, transaction_id: int) -> ChangeQuerySet:
        """Return changes of one transaction, by its 64-bit id (``pg_current_xact_id()``)."""
        return self.filter(transaction_id=transaction_id)

    def between(self, start: datetime, end: datetime) -> ChangeQuerySet:
        """Return changes committed at or after ``start`` and before ``end``."""
        return self.filter(committed_at__gte=start, committed_at__lt=end)

    def asc(self) -> ChangeQuerySet:
        """Return the changes in commit order, the oldest first."""
        return self.order_by("id")

    def desc(self) -> ChangeQuerySet:
        """Return the changes in reverse commit order, the newest first."""
        return self.order_by("-id")

    def by_time(self, *, newest_first: bool = False) -> ChangeQuerySet:
        """Sort by the time of the commit, which several servers have in common, and then in commit order.

        Args:
            newest_first: Whether the newest change is the first one.
        """
        return self.order_by("-committed_at", "-id") if newest_first else self.order_by("committed_at", "id")
