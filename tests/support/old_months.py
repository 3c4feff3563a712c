"""Months of the log that a test writes by hand, far in the past."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from django.db import connection

from bemi_django.wire.ids import change_id

FIRST, SECOND = "2003-05", "2003-06"
_INSERT = """
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, created_at, transaction_id, position, previous_primary_key,
                     partition, unavailable, diverged)
VALUES (%s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s)
"""
_ROWS = """
SELECT c::text FROM changes c WHERE to_char(committed_at AT TIME ZONE 'UTC', 'YYYY-MM') = ANY (%s)
ORDER BY id, committed_at
"""


@contextmanager
def old_months() -> Iterator[None]:
    """Have the partitions of both months in a block."""
    for month in (FIRST, SECOND):
        make(month)
    try:
        yield
    finally:
        for month in (FIRST, SECOND):
            drop(month)


def make(month: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT _bemi.partition_v1(%s)", [moment_in(month)])


def drop(month: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS changes_{month.replace('-', '_')}")
        cursor.execute("DELETE FROM _bemi.activity WHERE moment < '2004-01-01'")


def moment_in(month: str, seconds: int = 0) -> datetime:
    year, number = map(int, month.split("-"))
    return datetime(year, number, 3, 12, 0, seconds, 123456, tzinfo=timezone.utc)


def write(number: int, month: str = FIRST, **fields: Any) -> UUID:
    """Write a change; JSON is given as text."""
    moment = moment_in(month, number % 60)
    given = {
        "id": UUID(bytes=change_id(number * 8, 0, 1)),
        "database": "shop",
        "schema": "public",
        "table": "todo",
        "primary_key": str(number),
        "operation": "UPDATE",
        "before": json.dumps({"id": number, "task": "Sleep"}),
        "after": json.dumps({"id": number, "task": "Wake up"}),
        "context": json.dumps({"user_id": 7, "request_id": f"r{number}"}),
        "committed_at": moment,
        "queued_at": moment,
        "created_at": moment,
        "transaction_id": number,
        "position": number * 8,
        "previous_primary_key": None,
        "partition": None,
        "unavailable": None,
        "diverged": False,
        **fields,
    }
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, list(given.values()))
    return UUID(str(given["id"]))


def rows(month: str | None = None) -> list[str]:
    """Return the changes of a month, or of both, as PostgreSQL prints them."""
    months = [month] if month else [FIRST, SECOND]
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, [months])
        return [text for (text,) in cursor.fetchall()]


def remove(month: str) -> None:
    """Remove the changes of a month."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM changes WHERE to_char(committed_at AT TIME ZONE 'UTC', 'YYYY-MM') = %s", [month]
        )
