"""Checks of the table that is the log."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from bemi_django import conf
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import installed, tenancy
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote
from bemi_django.status.log_status import read_lost_months
from bemi_django.wire.table_name import TableName

# Some providers turn it on for all tables of a schema.
_HAS_POLICIES = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relrowsecurity AND (c.oid = _bemi.log_v1() OR c.relnamespace = '_bemi'::regnamespace) ORDER BY 1
"""


def check_log_table(alias: str) -> list[CheckMessage]:
    """Check the schema and the name of the log.

    Args:
        alias: Alias of the database that holds the log.
    """
    return _check_schema(alias) + _check_name(alias) + _check_months(alias) + _check_policies(alias)


def _check_schema(alias: str) -> list[CheckMessage]:
    try:
        schema = installed.schema_open_to_public(alias)
    except NotInstalled:
        return []
    if schema is None:
        return []
    message = f"Every role may create objects in {schema}, the schema of the log in {alias!r}."
    hint = f"Run REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC; PostgreSQL 15 and later do so by default."
    return [Warning(message, hint=hint, id="bemi.W009")]


def _check_months(alias: str) -> list[CheckMessage]:
    try:
        installed.log(alias)
    except NotInstalled:
        return []
    if not (gone := read_lost_months(alias)):
        return []
    message = f"Months of the log in {alias!r} were detached or dropped by hand: {', '.join(gone)}."
    hint = (
        "Attach their partitions again, run manage.py bemi import MONTH if the archive has them, or run "
        "manage.py bemi prune to note that they are gone. What was in them is not known."
    )
    return [Warning(message, hint=hint, id="bemi.W024")]


def _check_policies(alias: str) -> list[CheckMessage]:
    with closed_cursor(alias) as cursor:
        if not installed.has(cursor, "partition_v1"):
            return []
        cursor.execute(_HAS_POLICIES)
        tables = [table for (table,) in cursor.fetchall()]
    if not tables:
        return []
    message = (
        f"Row-level security is on for {', '.join(tables)} in {alias!r}: the worker cannot write there, and "
        "other roles than the owner miss changes without notice."
    )
    steps = " ".join(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;" for table in tables)
    return [Warning(message, hint=f"Run as the owner: {steps}", id="bemi.W025")]


def _check_name(alias: str) -> list[CheckMessage]:
    try:
        wanted = conf.table()
        log, is_log = installed.log(alias), installed.is_log(alias, wanted)
        hiding = tenancy.hiding_tables(alias, wanted.name) if wanted.schema is None else []
    except (ImproperlyConfigured, NotInstalled):
        # Another check reports the setting.
        return []
    if not is_log:
        return [_misnamed(alias, wanted, log)]
    if not hiding:
        return []
    shown = ", ".join(hiding[:3]) + (", ..." if len(hiding) > 3 else "")
    message = f"The log in {alias!r} is {log}, but some tenants find other tables by its name: {shown}."
    return [Error(message, hint=f"Set BEMI_TABLE = {log!r}.", id="bemi.E009")]


def _misnamed(alias: str, wanted: TableName, log: str) -> CheckMessage:
    found = installed.parts(log)
    steps = []
    if wanted.schema not in (None, found.schema):
        steps.append(f"ALTER TABLE {log} SET SCHEMA {quote(str(wanted.schema))};")
    if wanted.name != found.name:
        schema = quote(str(wanted.schema or found.schema))
        steps.append(f"ALTER TABLE {schema}.{quote(found.name)} RENAME TO {quote(wanted.name)};")
    rename = "put its schema first in the search_path."
    if steps:
        # The views of the past name the log.
        rename = f"rename the log, then run manage.py bemi sync: {' '.join(steps)}"
    message = f"BEMI_TABLE stands for {wanted.quoted}, but the log in {alias!r} is {log}."
    hint = f"Set BEMI_TABLE = {log!r}, or {rename}"
    return Error(message, hint=hint, id="bemi.E008")
