"""Tell whose users a context names, where each tenant has users of its own with the same keys."""

from __future__ import annotations

from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections, models, router
from django.db.models import Q

from bemi_django.log.conditions import HasKey
from bemi_django.log.places import names_schema, table_name
from bemi_django.schema import tenancy

_TABLES = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c
WHERE c.relname OPERATOR(pg_catalog.=) %s::pg_catalog.name
    AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog."char"[])
"""


class TenantUsers(NamedTuple):
    """The users that the viewer's search path finds; ``tenant`` is None if there are no others."""

    tenant: str | None

    def has_user_of(self, tenant: object) -> bool:
        """Return whether a user is one of these.

        Args:
            tenant: The ``tenant`` of the context that names the user, None if it has none.
        """
        return None in (self.tenant, tenant) or self.tenant == tenant

    def condition(self) -> Q:
        """Return the condition for changes whose context names one of these users, if any."""
        if self.tenant is None:
            return Q()
        return Q(context__contains={"tenant": self.tenant}) | ~Q(HasKey("context", "tenant"))


def users_in_sight() -> TenantUsers:
    """Return the users of the current tenant, or of all if they are shared."""
    model: type[models.Model] = get_user_model()
    connection = connections[router.db_for_read(model)]
    if not tenancy.has_tenants(connection.alias) or names_schema(model):
        return TenantUsers(None)
    with connection.cursor() as cursor:
        cursor.execute(_TABLES, [table_name(model)[1]])
        (count,) = cursor.fetchone()
    return TenantUsers(tenancy.schema_of(connection.alias) if count > 1 else None)
