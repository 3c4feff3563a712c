"""Keep the tables of this package out of the models that ``inspectdb`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps
from typing import Any

from django.core.management.commands.inspectdb import Command
from django.db import connections

_OURS = """
SELECT c.relname FROM pg_catalog.pg_class c
WHERE pg_catalog.pg_table_is_visible(c.oid) AND c.oid IN (SELECT _bemi.ours_v1())
"""
# A role without rights on the schema cannot ask.
_CAN_ASK = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace n
WHERE n.nspname OPERATOR(pg_catalog.=) '_bemi' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
"""


def install() -> None:
    """Wrap the inspection of ``inspectdb``, also in commands that derive from it, unless it is wrapped."""
    inspect = Command.handle_inspection
    if hasattr(inspect, "_bemi_wraps"):
        return

    @wraps(inspect)
    def wrapped(self: Command, options: dict[str, Any]) -> Iterator[str]:
        # Tables that are named are inspected.
        if not options["table"] and (ours := _ours(options["database"])):
            chosen = options.get("table_name_filter") or (lambda name: True)
            options = {**options, "table_name_filter": lambda name: name not in ours and chosen(name)}
        yield from inspect(self, options)

    wrapped._bemi_wraps = inspect  # type: ignore[attr-defined]
    Command.handle_inspection = wrapped  # type: ignore[method-assign]


def _ours(using: str) -> set[str]:
    connection = connections[using]
    if connection.vendor != "postgresql":
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_CAN_ASK)
        if not cursor.fetchone()[0]:
            return set()
        cursor.execute(_OURS)
        return {name for (name,) in cursor.fetchall()}
