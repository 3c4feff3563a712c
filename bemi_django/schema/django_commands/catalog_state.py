"""Sync only if the catalogs of a database are not as the last ``sync`` of this process has left them.

Django sends ``post_migrate`` after each flush of a test, too, and then there is nothing to do.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db import connections

from bemi_django import conf, destinations
from bemi_django.schema import tenancy, tracking
from bemi_django.schema.log_settings.sync import sync_log
from bemi_django.schema.outcome import Outcome

# A row that is written gets a new transaction id; one that is removed is missing from the count. TRUNCATE
# writes pg_class: there the columns count that matter to sync.
_WRITTEN = """(
    SELECT pg_catalog.concat_ws(
        ' ', pg_catalog.count(*), pg_catalog.sum(x.xmin::pg_catalog.text::pg_catalog.int8),
        pg_catalog.max(x.xmin::pg_catalog.text::pg_catalog.int8))
    FROM pg_catalog.{} x WHERE {})"""
_READ = """
SELECT pg_catalog.concat_ws(', ', current_user, (
    SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(
        ' ', c.oid, c.relnamespace, c.relkind, c.relpersistence, c.relreplident, c.relispartition,
        c.relname), 0))
    FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
        AND c.relkind OPERATOR(pg_catalog.=) ANY ('{{r,p,v}}'::pg_catalog."char"[])), {})
"""
_OWN = "x.{} OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid"
_CATALOGS = {
    "pg_attribute": _OWN.format("attrelid"),
    "pg_constraint": "true",
    "pg_database": "x.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()",
    "pg_db_role_setting": "true",
    "pg_enum": "true",
    "pg_event_trigger": "true",
    "pg_index": _OWN.format("indrelid"),
    "pg_inherits": "true",
    "pg_namespace": "true",
    "pg_proc": _OWN.format("oid"),
    "pg_publication": "true",
    "pg_publication_rel": "true",
    "pg_trigger": "NOT x.tgisinternal",
    "pg_type": _OWN.format("oid"),
}


#: What is read for a request or a page, and by no ``sync``: tests change these settings often.
_OF_REQUESTS = frozenset(
    {
        "ALLOWED_HOSTS",
        "BEMI_ADMIN_HISTORY",
        "BEMI_ADMIN_SCOPE",
        "BEMI_AS_OF_PATIENCE",
        "BEMI_AUTH_EVENTS",
        "BEMI_BOOKKEEPING_TABLES",
        "BEMI_CONTEXT_FUNCTION",
        "BEMI_MASKED_FIELDS",
        "BEMI_TRUST_REQUEST_ID",
        "BEMI_TRUSTED_PROXIES",
        "BEMI_VERSION_COLUMNS",
        "LOGIN_URL",
        "MEDIA_URL",
        "MIDDLEWARE",
        "ROOT_URLCONF",
        "TEMPLATES",
    }
)


class CatalogState(NamedTuple):
    """What the catalogs say that decides what ``sync`` has to do to a schema, or to all of them."""

    schema: str | None
    catalogs: str


_left: dict[str, CatalogState] = {}


def sync_if_changed(using: str) -> Outcome:
    """Bring a database in line with the settings, unless nothing has changed since that was done last.

    No other database is asked: a test may be allowed this one only.

    Args:
        using: The alias of the database, of a source, of the log or both.

    Returns:
        What was done and what failed.
    """
    # Of a tenant only its own tables: there may be thousands of other tenants.
    schema = tenancy.tenant_schema(using)
    state = _state(using, schema)
    if state is not None and _left.get(using) == state:
        return Outcome([], [])
    forget(using)
    found = [tracking.sync_source(using, schema=schema)] if conf.is_source(using) else []
    if destinations.is_log(using):
        found.append(sync_log(using))
    outcome = Outcome(
        [line for part in found for line in part.done], [line for part in found for line in part.failed]
    )
    if not outcome.failed and (state := _state(using, schema)):
        _left[using] = state
    return outcome


def forget(using: str) -> None:
    """Forget the state of a database."""
    _left.pop(using, None)


def forget_setting(name: str) -> None:
    """Forget the state of all databases if ``sync`` may read a setting that has changed."""
    if name not in _OF_REQUESTS:
        _left.clear()


def _state(using: str, schema: str | None) -> CatalogState | None:
    """Return the state of a database, or None in a transaction."""
    if connections[using].in_atomic_block:
        return None
    with connections[using].cursor() as cursor:
        cursor.execute(_READ.format(", ".join(_WRITTEN.format(*catalog) for catalog in _CATALOGS.items())))
        return CatalogState(schema, str(cursor.fetchone()[0]))
