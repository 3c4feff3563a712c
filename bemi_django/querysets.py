"""Ask the log in the words of the trade."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connections, models, router
from django.db.models import Func, Q
from django.db.models.fields.json import KeyTransform

from bemi_django.keys import key_of
from bemi_django.sql import quote

if TYPE_CHECKING:
    from bemi_django.models import Change  # noqa: F401 - in quotes below: models import this module

_ANY = object()
_SCHEMA_OF = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""


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
        database, schema, table = _place(model, using or router.db_for_write(model))
        return self.filter(database=database, schema=schema, table=table)

    def for_object(self, instance: models.Model) -> ChangeQuerySet:
        """Changes of one row, also those under a key that it had before."""
        key = key_of(instance)
        changes = self.for_model(type(instance), instance._state.db)
        return changes.filter(Q(primary_key=key) | Q(previous_primary_key=key))

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


def _place(model: type[models.Model], alias: str) -> tuple[str, str, str]:
    """Database, schema and table of a model."""
    connection = connections[alias]
    database = str(connection.settings_dict["NAME"])
    # The well-known way to name a schema: db_table = 'schema"."table', with or without the outer quotes.
    schema, separator, table = model._meta.db_table.strip('"').partition('"."')
    if separator:
        return database, schema, table
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA_OF, [quote(model._meta.db_table)])
        found = cursor.fetchone()
    return database, found[0] if found else "public", model._meta.db_table
