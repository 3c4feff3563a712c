"""The tables beside the log that the pages need, and whether the role that reads the log may use them."""

from __future__ import annotations

from django.db import connections

from bemi_django import conf

SAVED_VIEWS, ALERT_RULES = "_bemi.saved_views", "_bemi.alert_rules"
DEAD_LETTERS = "_bemi.dead_letters"
#: What the pages do with a table in which they keep something.
_RIGHTS = "SELECT", "INSERT", "UPDATE", "DELETE"


def may_keep(table: str) -> bool:
    """Tell whether the pages may read and write a table."""
    return _may(table, *_RIGHTS)


def may_read(table: str) -> bool:
    """Tell whether the pages may read a table."""
    return _may(table, "SELECT")


def _may(table: str, *rights: str) -> bool:
    asked = " AND ".join("pg_catalog.has_table_privilege(%s, %s)" for _ in rights)
    with connections[conf.destination()].cursor() as cursor:
        cursor.execute(f"SELECT {asked}", [text for right in rights for text in (table, right)])
        return bool(cursor.fetchone()[0])
