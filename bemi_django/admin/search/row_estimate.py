"""Estimates of the number of changes. The planner provides them; nothing is counted."""

from __future__ import annotations

from django.core.exceptions import EmptyResultSet
from django.db import connections

from bemi_django import conf
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

_ALL = """
SELECT coalesce(pg_catalog.sum(greatest(c.reltuples, 0)), 0)::pg_catalog.int8
FROM pg_catalog.pg_partition_tree(%s::pg_catalog.regclass) t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relid WHERE t.isleaf
"""


def total() -> int:
    """Return the number of changes in the log as of the last ANALYZE."""
    with connections[Change.objects.db].cursor() as cursor:
        cursor.execute(_ALL, [conf.table().quoted])
        return int(cursor.fetchone()[0])


def matching(changes: ChangeQuerySet) -> int:
    """Return the number of changes that the planner expects a query to find."""
    alias = Change.objects.db
    try:
        statement, parameters = changes.order_by().query.get_compiler(alias).as_sql()
    except EmptyResultSet:
        return 0
    with connections[Change.objects.db].cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}", parameters)
        (first,) = cursor.fetchone()
    return int(str(first).partition(" rows=")[2].partition(" ")[0])


def rounded(count: int) -> int:
    """Round an estimate to two digits; more would suggest a precision that it does not have."""
    return round(count, 2 - len(str(count))) if count > 99 else count
