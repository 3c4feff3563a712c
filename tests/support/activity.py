"""What the log has counted, and what it should have counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.support.project_database import execute

#: Kind, unit, moment, schema, name, detail.
Counted = tuple[str, str, datetime, str, str, str]

_KEY = re.compile(r"/(?:\d+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,})(?=/|$)")
_COUNTED = """
SELECT kind, unit, moment, schema, name, detail, changes FROM _bemi.activity
"""
_LOGGED = 'SELECT committed_at, schema, "table", operation, context::text FROM changes'


def counted() -> dict[Counted, int]:
    """Return what the log has counted."""
    return {tuple(row[:-1]): row[-1] for row in execute(_COUNTED)}


def to_count() -> dict[Counted, int]:
    """Return what the changes of the log are counted by, read one by one."""
    found: Counter[Counted] = Counter()
    for committed_at, schema, table, operation, text in execute(_LOGGED):
        context = json.loads(text, parse_float=str)
        if not isinstance(context, dict):
            context = {"other": context}
        hour = committed_at.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
        for kind, name, detail in _names(table, operation, context):
            day = hour.replace(hour=0)
            for unit, moment in (("hour", hour), ("day", day), ("month", day.replace(day=1))):
                found[(kind, unit, moment, schema, name[:200], detail[:100])] += 1
    return dict(found)


def recount() -> None:
    """Count the changes that a test has written by hand."""
    execute("DELETE FROM _bemi.activity")
    for (day,) in execute("SELECT DISTINCT date_trunc('day', committed_at, 'UTC') FROM changes"):
        execute("SELECT _bemi.recount_v1(%s, %s)", [day, day + timedelta(hours=1)])


def _names(table: str, operation: str, context: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    def text(key: str) -> str:
        value = context.get(key)
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)

    yield "operation", operation, ""
    yield "table", table, ""
    if text("user_id"):
        yield "user", text("user_id"), text("tenant")
    if endpoint := text("route") or _KEY.sub("/<id>", text("endpoint")):
        yield "endpoint", endpoint, text("method")
    for kind in ("task", "command"):
        if text(kind):
            yield kind, text(kind), ""
    if not context or "db_user" in context:
        yield "outside", text("db_user"), ""
