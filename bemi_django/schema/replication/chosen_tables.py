"""The patterns of the tables that are to be tracked, as the settings and a database choose them."""

from __future__ import annotations

from django.db import connections

from bemi_django import conf
from bemi_django.schema import installed, tenancy
from bemi_django.wire.name_pattern import as_like


def included(using: str) -> list[str]:
    """Return the patterns of the tables to track in a database.

    Args:
        using: The alias of the database.

    Returns:
        ``BEMI_INCLUDE``, by default all tables of the schemas where a new session finds its tables. In a
        database with tenants these are all schemas, so that a new tenant's tables are tracked from the start.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    with connections[using].cursor() as cursor:
        installed.require(cursor, "home_schemas_v1")
        if tenancy.has_tenants(using):
            return conf.include(["*"])
        cursor.execute("SELECT name FROM _bemi.home_schemas_v1() name")
        return conf.include(name for (name,) in cursor.fetchall())


def patterns(using: str) -> tuple[list[str], list[str]]:
    """Return the patterns of the tables to track and not to track in a database, as patterns of LIKE."""
    return like(included(using)), like(conf.exclude())


def like(patterns: list[str]) -> list[str]:
    """Return patterns of the settings, with ``*`` and ``?``, as patterns of LIKE."""
    return [as_like(pattern) for pattern in patterns]
