"""A row of the log as a Django model, and the queryset that asks for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from django.db import models, router
from django.utils.translation import gettext_lazy as _

from bemi_django import conf
from bemi_django.log import conditions
from bemi_django.log.fields import Decryptable, RowField
from bemi_django.log.instances import instance_of, instance_with_key, live_instance
from bemi_django.log.places import Place, place_of
from bemi_django.log.undo import Restorable, Revertible
from bemi_django.wire import UNVERIFIED_KEY

_ANY = object()


class ChangeQuerySet(Restorable, models.QuerySet["Change"]):
    """Query the log; all methods can be chained, also with Django's own.

    Results are in commit order. Example: ``Change.objects.for_object(todo).updated().by(user)``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        conf.table()  # raises if the setting is not valid: the model has the default name then
        super().__init__(*args, **kwargs)

    def for_model(self, model: type[models.Model], using: str | None = None) -> ChangeQuerySet:
        """Return changes of a model's table.

        Args:
            model: The model; a proxy stands for the model that it is based on.
            using: Alias of the database that was changed; by default the one that the router writes to.
        """
        return self.of_table(place_of(model, using or router.db_for_write(model)))

    def for_object(
        self, instance: models.Model, *, related: bool | Collection[str] = False
    ) -> ChangeQuerySet:
        """Return changes of one object, under all primary keys that it had; see ``log.identity``.

        With multi-table inheritance, changes of its rows in the parents' tables are included.

        Args:
            instance: A saved or deleted instance.
            related: True to include changes of rows that refer to the object: children, generic relations
                and rows of many-to-many tables, which belong to both ends. A list of relation names, such
                as ``["tags", "comment"]``, includes only those.

        Raises:
            BemiError: ``related`` names a relation that the model does not have.
        """
        log = self.model._base_manager.using(self.db).all()
        return self.filter(conditions.of_object(log, instance, related))

    def of_table(self, place: Place) -> ChangeQuerySet:
        """Return changes of a table, whether a model has it or not."""
        return self.filter(conditions.in_table(place))

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
        return self.filter(conditions.in_row("before", values))

    def before_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes whose row did not have these values before."""
        return self.exclude(conditions.in_row("before", values))

    def after(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes whose row had these values afterwards."""
        return self.filter(conditions.in_row("after", values))

    def after_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes whose row did not have these values afterwards."""
        return self.exclude(conditions.in_row("after", values))

    def context(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes made in a context that contains these values."""
        return self.filter(conditions.in_context(values))

    def context_not(self, values: Mapping[str, Any]) -> ChangeQuerySet:
        """Return changes made in a context that does not contain these values."""
        return self.exclude(conditions.in_context(values))

    def field_changed(self, column: str, *, from_: Any = _ANY, to: Any = _ANY) -> ChangeQuerySet:
        """Return updates that gave a column another value.

        Args:
            column: Name of the column.
            from_: Value before the update; any by default.
            to: Value after the update; any by default.
        """
        has_both = (conditions.HasKey(side, column) for side in ("before", "after"))
        changes = self.updated().filter(conditions.Differs(column), *has_both)
        if from_ is not _ANY:
            changes = changes.before({column: from_})
        return changes if to is _ANY else changes.after({column: to})

    def by(self, user: Any) -> ChangeQuerySet:
        """Return changes made by a user, an instance or its primary key (``user_id`` of the context)."""
        return self.context({"user_id": user})

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


class Change(Revertible, Decryptable, models.Model):
    """One committed change of one row. ``ordering`` is commit order.

    ``id`` is a UUIDv8 made of the commit LSN, the number of the change in its transaction and a hash of the
    source. ``position`` is the commit LSN, ``transaction_id`` the 64-bit transaction id. ``before`` is
    ``{}`` for CREATE and BASELINE, ``after`` is ``{}`` for DELETE, both are for TRUNCATE. ``unavailable``
    lists the columns whose values are not known: ``{"before": [...], "after": [...]}``; those of ``erased``
    columns are null. A row with operation BASELINE is one that ``bemi baseline`` has found. One with
    operation SKIPPED stands for changes that were excluded with ``skip_tracking()``, one with operation GAP
    for changes that were lost, one with operation ERASED for values that ``bemi erase`` has taken out of
    changes of the row; the context says how many or which, and why. One with operation EVENT is what
    :func:`bemi_django.record` has recorded.
    """

    id = models.UUIDField(primary_key=True)
    database = models.TextField()
    schema = models.TextField()
    table = models.TextField()
    primary_key = models.TextField(null=True)  # noqa: DJ001 - a table without a key has none
    operation = models.TextField()
    before = RowField(default=dict)
    after = RowField(default=dict)
    context = RowField(default=dict)
    committed_at = models.DateTimeField()
    queued_at = models.DateTimeField()
    created_at = models.DateTimeField()
    transaction_id = models.BigIntegerField()
    position = models.BigIntegerField()
    previous_primary_key = models.TextField(null=True)  # noqa: DJ001 - only where an UPDATE changed it
    partition = models.TextField(null=True)  # noqa: DJ001 - only under a partitioned table
    unavailable = models.JSONField(null=True)
    diverged = models.BooleanField(default=False)

    objects = ChangeQuerySet.as_manager()

    class Meta:
        db_table = conf.db_table()
        ordering = ["id"]
        verbose_name = _("change")
        verbose_name_plural = _("changes")
        default_permissions = ("view",)
        permissions = [
            ("revert_change", _("Can revert changes")),
            ("export_change", _("Can export changes")),
            ("unmask_change", _("Can see masked values")),
            ("view_health", _("Can view the health of recording")),
            ("travel_in_time", _("Can see the site as it was")),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.schema}.{self.table} {self.primary_key}"

    def diff(self) -> dict[str, tuple[Any, Any]]:
        """Return ``{column: (before, after)}`` for the columns whose value changed."""
        both = ((key, self.before.get(key), self.after.get(key)) for key in {**self.before, **self.after})
        return {key: (old, new) for key, old, new in both if old != new}

    @property
    def object(self) -> models.Model | None:
        """The live object, or None if its row no longer exists.

        Raises:
            NoModel: No model has the table.
        """
        if self.operation in ("EVENT", "ERASED"):
            return instance_with_key(self.place, self.primary_key)
        return live_instance(self.place, self.after or self.before)

    def as_instance(self, side: Literal["before", "after"] = "after") -> models.Model:
        """Return the row before or after the change as an unsaved instance of its model.

        Each value has the type that its field gives out. Columns that were added since have the field's
        default; columns that were dropped since are plain attributes. ``BEMI_RENAMED_COLUMNS`` and
        ``History(renamed=...)`` name the columns that were renamed. ``unknown_fields`` has the names of the
        fields whose values the log does not have.

        Raises:
            NoModel: No model has the table.
            ValueError: The change has no such side: ``"before"`` of a CREATE, ``"after"`` of a DELETE.
        """
        row = {"before": self.before, "after": self.after}[side]
        if not row:
            raise ValueError(f"a {self.operation} has no row {side}")
        unknown = self.unavailable or {}
        lost = [*unknown.get(side, ()), *unknown.get("ignored", ())]
        return instance_of(self.place, row, lost, unknown.get("erased", ()))

    @property
    def place(self) -> Place:
        """The table that was changed: database, schema and name."""
        return Place(self.database, self.schema, self.table)
