"""Writes that bypass the ORM: plain SQL on Django's connection."""

from __future__ import annotations

from django.db import connection, transaction

DELETE_TAGS = """
    DELETE FROM todo_tags WHERE todo_id IN
        (SELECT id FROM todo WHERE is_completed AND owner_id = %s)
"""
DELETE_TODOS = "DELETE FROM todo WHERE is_completed AND owner_id = %s"


def clear_completed(owner_id: int | None) -> int:
    """Delete the completed todos of *owner_id* and return how many there were."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(DELETE_TAGS, [owner_id])
        cursor.execute(DELETE_TODOS, [owner_id])
        count: int = cursor.rowcount
    return count
