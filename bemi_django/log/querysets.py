"""Ask the log in the words of the trade."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from django.db import models, router
from django.db.models import Func, Q
from django.db.models.fields.json import KeyTransform

from bemi_django.log import undo
from bemi_django.log.keys import key_of, models_of
from bemi_django.log.places import Place, place_of, places_of
from bemi_django.log.relations import belongings

if TYPE_CHECKING:
    from bemi_django.log.change import Change  # noqa: F401 - in quotes below: the model imports this module
    from bemi_django.log.undo import OnConflict, Plan

_ANY = object()


class _Differs(Func):
    """Whether a column has another value after than before."""

    template = "%(expressions)s"
    arg_joiner = " IS DISTINCT FROM "
    output_field = models.BooleanField()

    def __init__(self, column: str) -> None:
        super().__init__(KeyTransform(column, "before"), KeyTransform(column, "after"))


class ChangeQuerySet(models.QuerySet["Change"]):
    """Chainable; the order is that of commits.

    ``Change.objects.for_object(todo).updated().field_changed("task").by(user)``
    """

    def for_model(self, model: type[models.Model], using: str | None = None) -> ChangeQuerySet:
        """Changes of a model's table in the database where the model lives, or in that of an alias."""
        return self.of_table(place_of(model, using or router.db_for_write(model)))

    def for_object(
        self, instance: models.Model, *, related: bool | Collection[str] = False
    ) -> ChangeQuerySet:
        """Changes of one object, also those under a key that it had before.

        Those of its rows in the tables that its model inherits from are included. ``related``: and those of
        the rows that refer to it, children and rows of many-to-many relations, which so belong to both of
        their ends; all of them, or those of some relations by name: ``related=["tags", "comment"]``.
        """
        alias = instance._state.db or router.db_for_write(type(instance))
        own = models_of(instance)
        names = None if related is True else related or ()
        others = belongings(instance, names) if related else []
        places = places_of([*own, *(other.model for other in others)], alias)
        conditions = [
            _in(place) & _of_key(key_of(instance, model)) for model, place in zip(own, places, strict=False)
        ]
        for other, place in zip(others, places[len(own) :], strict=True):
            holds = Q(before__contains=other.values) | Q(after__contains=other.values)
            conditions.append(_in(place) & holds)
        return self.filter(reduce(or_, conditions))

    def of_table(self, place: Place) -> ChangeQuerySet:
        """Changes of a table by its names, with or without a model."""
        return self.filter(_in(place))

    def of_key(self, primary_key: str) -> ChangeQuerySet:
        """Changes of rows that have or had a key, as the log has keys."""
        return self.filter(_of_key(primary_key))

    def created(self) -> ChangeQuerySet:
        return self.filter(operation="CREATE")

    def updated(self) -> ChangeQuerySet:
        return self.filter(operation="UPDATE")

    def deleted(self) -> ChangeQuerySet:
        return self.filter(operation="DELETE")

    def before(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Changes of rows that had these values."""
        return self.filter(before__contains=values)

    def before_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        return self.exclude(before__contains=values)

    def after(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Changes that left these values."""
        return self.filter(after__contains=values)

    def after_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        return self.exclude(after__contains=values)

    def context(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Changes made in a context that holds these values."""
        return self.filter(context__contains=values)

    def context_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        return self.exclude(context__contains=values)

    def field_changed(self, column: str, *, from_: Any = _ANY, to: Any = _ANY) -> ChangeQuerySet:
        """Updates that gave a column another value, from or to a certain one if named."""
        changes = self.updated().filter(_Differs(column), before__has_key=column, after__has_key=column)
        if from_ is not _ANY:
            changes = changes.before({column: from_})
        return changes if to is _ANY else changes.after({column: to})

    def by(self, user: Any) -> ChangeQuerySet:
        """Changes of a user, an instance or its key, by ``user_id`` of the context."""
        return self.context({"user_id": user.pk if isinstance(user, models.Model) else user})

    def in_request(self, request_id: str) -> ChangeQuerySet:
        """Changes of one request, by ``request_id`` of the context."""
        return self.context({"request_id": request_id})

    def outside(self) -> ChangeQuerySet:
        """Changes made outside the application: psql and the like, and whatever else sent no context."""
        return self.filter(Q(context__has_key="db_user") | Q(context={}))

    def in_transaction(self, transaction_id: int) -> ChangeQuerySet:
        """Changes of one transaction, by PostgreSQL's id of it."""
        return self.filter(transaction_id=transaction_id)

    def between(self, start: datetime, end: datetime) -> ChangeQuerySet:
        """Changes committed from ``start`` on and before ``end``."""
        return self.filter(committed_at__gte=start, committed_at__lt=end)

    def asc(self) -> ChangeQuerySet:
        """The oldest first, in the order of commits and of statements in them."""
        return self.order_by("id")

    def desc(self) -> ChangeQuerySet:
        return self.order_by("-id")

    def revert(
        self, *, dry_run: bool = False, on_conflict: OnConflict = "stop", cascade: bool = True
    ) -> Plan:
        """Undo these changes in one transaction of their database, and return the plan of it.

        For every row the state before the first of these changes is brought back, column by column: what
        others changed since stays where these changes did not touch it, and is a conflict where they did.
        ``dry_run`` only plans. Conflicts stop everything, ``on_conflict="skip"`` leaves the rows that have
        one, ``"force"`` overwrites what is in the way where that is possible. With ``cascade`` a deleted
        row comes back with what its transaction took along: rows that referred to it, and references to it.

        The revert is recorded too: the context of its changes has ``"reverts"``, the ids of the changes.
        Raises RevertConflict (``error.plan``) where conflicts stop it: then nothing was done; and BemiError
        for changes of several databases, or of one that ``DATABASES`` does not have.
        """
        return undo.revert(self, dry_run=dry_run, on_conflict=on_conflict, cascade=cascade)


def _in(place: Place) -> Q:
    return Q(database=place.database, schema=place.schema, table=place.table)


def _of_key(primary_key: str) -> Q:
    return Q(primary_key=primary_key) | Q(previous_primary_key=primary_key)
