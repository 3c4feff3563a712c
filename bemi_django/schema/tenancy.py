"""Databases with a schema for each tenant, whose backend sets the search path of a connection.

The backends of django-tenants and its relatives are known by two attributes of their connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connections

_HIDING = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.=) %s::pg_catalog.name
    AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog."char"[])
    AND c.oid OPERATOR(pg_catalog.<>) ALL (SELECT _bemi.ours_v1())
    AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, '_bemi_past_'::pg_catalog.text)
ORDER BY 1
"""


def has_tenants(alias: str) -> bool:
    """Return whether a database has a schema for each tenant."""
    return hasattr(connections[alias], "set_tenant") and hasattr(connections[alias], "schema_name")


def schema_of(alias: str) -> str:
    """Return the schema of a connection, tenant's or public, in a database with tenants."""
    return str(connections[alias].schema_name)  # type: ignore[attr-defined]


def public_schema() -> str:
    """Return the schema of the tables that all tenants share."""
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))


def tenant_schema(alias: str) -> str | None:
    """Return the schema of the current tenant of a connection, or None outside of tenants."""
    if not has_tenants(alias):
        return None
    schema = schema_of(alias)
    return None if schema == public_schema() else schema


def hiding_tables(alias: str, log: str) -> list[str]:
    """Return the tables of tenants that a query finds instead of the log.

    Args:
        alias: Alias of the database.
        log: The name by which queries find the log.
    """
    if not has_tenants(alias):
        return []
    with connections[alias].cursor() as cursor:
        cursor.execute(_HIDING, [log])
        return [name for (name,) in cursor.fetchall()]


@contextmanager
def in_schema(alias: str, schema: str) -> Iterator[None]:
    """Let a connection belong to the tenant with a schema, if the database has tenants.

    Args:
        alias: Alias of the database.
        schema: The schema; nothing happens if it is empty, as that of a gap.
    """
    connection: Any = connections[alias]
    if not schema or not has_tenants(alias) or connection.schema_name == schema:
        yield
        return
    tenant, includes_public = connection.tenant, connection.include_public_schema
    connection.set_schema(schema)
    try:
        yield
    finally:
        connection.set_tenant(tenant, includes_public)
