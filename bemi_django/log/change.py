"""A row of the log as a Django model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from django.utils.translation import gettext_lazy as _

from bemi_django.log import undo
from bemi_django.log.fields import RowField
from bemi_django.log.instances import instance_of, live_instance
from bemi_django.log.places import Place
from bemi_django.log.querysets import ChangeQuerySet

if TYPE_CHECKING:
    from bemi_django.log.undo import OnConflict, Plan


class Change(models.Model):
    """One committed change of one row; ``ordering`` is the order of commits.

    ``id`` is a UUIDv8 made of the commit LSN, the change's number in its transaction and a hash
    of the source. ``position`` is the commit LSN, ``transaction_id`` the 64-bit transaction id.
    ``before`` is ``{}`` for CREATE, ``after`` is ``{}`` for DELETE, both for TRUNCATE.
    ``unavailable`` names the columns whose values are not known: ``{"before": [...], "after": [...]}``.
    A row with operation SKIPPED stands for rows that were not to be recorded, one with operation GAP for
    changes that were lost; their context says how many or which, and why.
    """

    id = models.UUIDField(primary_key=True)
    database = models.TextField()
    schema = models.TextField()
    table = models.TextField()
    primary_key = models.TextField(null=True)  # noqa: DJ001 - a table without a key has none
    operation = models.TextField()
    before = RowField(default=dict)
    after = RowField(default=dict)
    context = models.JSONField(default=dict)
    committed_at = models.DateTimeField()
    queued_at = models.DateTimeField()
    created_at = models.DateTimeField()
    transaction_id = models.BigIntegerField()
    position = models.BigIntegerField()
    previous_primary_key = models.TextField(null=True)  # noqa: DJ001 - only where an UPDATE changed it
    partition = models.TextField(null=True)  # noqa: DJ001 - only under a partitioned table
    unavailable = models.JSONField(null=True)

    objects = ChangeQuerySet.as_manager()

    class Meta:
        db_table = "changes"
        ordering = ["id"]
        verbose_name = _("change")
        verbose_name_plural = _("changes")
        default_permissions = ("view",)
        permissions = [
            ("revert_change", _("Can revert changes")),
            ("export_change", _("Can export changes")),
            ("unmask_change", _("Can see masked values")),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.schema}.{self.table} {self.primary_key}"

    def diff(self) -> dict[str, tuple[Any, Any]]:
        """Return ``{column: (before, after)}`` of the columns that the change gave another value."""
        columns = {**self.before, **self.after}
        pairs = {column: (self.before.get(column), self.after.get(column)) for column in columns}
        return {column: pair for column, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def object(self) -> models.Model | None:
        """The object as it is now, None when it is gone. Raises NoModel where no model has the table."""
        return live_instance(self.place, self.after or self.before)

    def as_instance(self, side: Literal["before", "after"] = "after") -> models.Model:
        """The row before or after as an unsaved instance of its model, each value with its field's type.

        Columns that came later have their default; dropped ones are attributes with the value of the log.
        ``BEMI_RENAMED_COLUMNS`` and ``History(renamed=...)`` say which have another name now.
        Raises NoModel, and ValueError for the side that a CREATE, DELETE or TRUNCATE does not have.
        """
        row = {"before": self.before, "after": self.after}[side]
        if not row:
            raise ValueError(f"a {self.operation} has no row {side}")
        return instance_of(self.place, row)

    @property
    def place(self) -> Place:
        """Database, schema and table."""
        return Place(self.database, self.schema, self.table)

    def revert(
        self, *, dry_run: bool = False, on_conflict: OnConflict = "stop", cascade: bool = True
    ) -> Plan:
        """Undo the change: see :meth:`ChangeQuerySet.revert`."""
        return undo.revert([self], dry_run=dry_run, on_conflict=on_conflict, cascade=cascade)
