"""A row of the log as a Django model."""

from __future__ import annotations

from typing import Any, Literal

from django.db import models
from django.utils.translation import gettext_lazy as _

from bemi_django import conf
from bemi_django.log.fields import Decryptable, RowField
from bemi_django.log.instances import instance_of, instance_with_key, live_instance
from bemi_django.log.places import Place
from bemi_django.log.querysets.change_queryset import ChangeQuerySet
from bemi_django.log.undo import Revertible

__all__ = ["Change", "ChangeQuerySet"]


class Change(Revertible, Decryptable, models.Model):
    """One committed change of one row. ``ordering`` is commit order.

    ``id`` is a UUIDv8 made of the commit LSN, the number of the change in its transaction and a hash of
    the source. ``position`` is the commit LSN, ``transaction_id`` the 64-bit transaction id. ``before``
    is ``{}`` for CREATE and BASELINE, ``after`` is ``{}`` for DELETE, both are for TRUNCATE.
    ``unavailable`` lists the columns whose values are not known: ``{"before": [...], "after": [...]}``;
    those of ``erased`` columns are null, on the side that ``erased_sides`` names or on both. It names
    ``masked`` columns, and those that were ``changed`` where ``before`` and ``after`` do not show it. A row
    with operation BASELINE is one that ``bemi baseline`` has found. One with operation SKIPPED stands for
    changes that were excluded with ``skip_tracking()``, one with operation GAP for changes that were
    lost, one with operation ERASED for values that ``bemi erase`` has taken out of changes of the row;
    the context says how many or which, and why. One with operation EVENT is what
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
        return live_instance(self)

    def as_instance(self, side: Literal["before", "after"] = "after") -> models.Model:
        """Return the row before or after the change as an unsaved instance of its model.

        Each value has the type that its field gives out, and each column the name that it has now. Columns
        that were added since have the field's default; columns that were dropped since are plain attributes,
        unless a field has their name. ``unknown_fields`` has the names of the fields whose values the log
        does not have.

        Raises:
            NoModel: No model has the table.
            ValueError: The change has no such side: ``"before"`` of a CREATE, ``"after"`` of a DELETE.
        """
        row = {"before": self.before, "after": self.after}[side]
        if not row:
            raise ValueError(f"a {self.operation} has no row {side}")
        unknown = self.unavailable or {}
        lost = [*unknown.get(side, ()), *unknown.get("ignored", ())]
        return instance_of(self, row, lost, unknown.get("erased", ()))

    @property
    def destination(self) -> str | None:
        """The alias of the database whose log has the change; None if it was read from none."""
        alias: str | None = self._state.db
        return alias

    @property
    def place(self) -> Place:
        """The table that was changed: database, schema and name."""
        return Place(self.database, self.schema, self.table)
