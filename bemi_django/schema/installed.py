"""Find what the migration has put into a database: everything is in the schema ``_bemi``, the log is not."""

from __future__ import annotations

from typing import Any

from django.db import connections

from bemi_django.exceptions import NotInstalled
from bemi_django.schema.sql import quote
from bemi_django.wire import table_name
from bemi_django.wire.table_name import TableName

# Asked of the catalog, because a name in a schema that is not there is an error.
_HAS = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE n.nspname OPERATOR(pg_catalog.=) '_bemi'::pg_catalog.name
    AND p.proname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""
_LOG = """
SELECT pg_catalog.quote_ident(n.nspname::pg_catalog.text) OPERATOR(pg_catalog.||) '.'::pg_catalog.text
    OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.relname::pg_catalog.text)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) _bemi.log_v1()
"""
# As OIDs, which are compared here: there an operator of somebody else could be meant.
_FOUND = """
SELECT pg_catalog.to_regclass(%s::pg_catalog.text)::pg_catalog.oid, _bemi.log_v1()::pg_catalog.oid
"""
_OPEN_SCHEMA = """
SELECT pg_catalog.quote_ident(n.nspname::pg_catalog.text)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) _bemi.log_v1()
    AND pg_catalog.has_schema_privilege('public'::pg_catalog.name, n.oid, 'CREATE'::pg_catalog.text)
"""


def has(cursor: Any, function: str) -> bool:
    """Tell whether the database of ``cursor``, of any driver, has the function ``_bemi.<function>``."""
    cursor.execute(_HAS, [function])
    return bool(cursor.fetchone()[0])


def is_standby(using: str) -> bool:
    """Return whether the server of a database follows another one, which is where changes are made."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_is_in_recovery()")
        return bool(cursor.fetchone()[0])


def require(cursor: Any, function: str) -> None:
    """Raise NotInstalled unless the database has the function ``_bemi.<function>``."""
    if not has(cursor, function):
        raise NotInstalled


def log(using: str) -> str:
    """Return the name of the log's table with its schema, quoted for SQL.

    Raises:
        NotInstalled: The database has no log.
    """
    with connections[using].cursor() as cursor:
        return log_of(cursor)


def log_of(cursor: Any) -> str:
    """Do the same with a cursor of any driver."""
    require(cursor, "log_v1")
    cursor.execute(_LOG)
    found = cursor.fetchone()
    if found is None:
        raise NotInstalled
    return str(found[0])


def parts(log: str) -> TableName:
    """Return the schema and the name in what :func:`log` has returned."""
    found = table_name.split(log)
    if found is None:
        raise ValueError(log)
    return found


def schema_of(log: str) -> str:
    """Return the schema in what :func:`log` has returned, quoted for SQL like it."""
    name = quote(parts(log).name)
    return log.removesuffix(name if log.endswith(name) else name[1:-1])[:-1]


def is_log(using: str, name: TableName) -> bool:
    """Return whether a query that names this table reads the log.

    Raises:
        NotInstalled: The database has no log.
    """
    with connections[using].cursor() as cursor:
        require(cursor, "log_v1")
        cursor.execute(_FOUND, [name.quoted])
        found, log = cursor.fetchone()
    if log is None:
        raise NotInstalled
    return bool(found == log)


def schema_open_to_public(using: str) -> str | None:
    """Return the schema of the log if every role may create objects in it, otherwise None.

    Raises:
        NotInstalled: the database has no objects of ours.
    """
    with connections[using].cursor() as cursor:
        require(cursor, "log_v1")
        cursor.execute(_OPEN_SCHEMA)
        found = cursor.fetchone()
    return str(found[0]) if found else None
