"""The present row of an object, as the log would have it."""

from __future__ import annotations

from typing import Any

from django.db import models

from bemi_django.admin.access.logged_models import key_fields
from bemi_django.admin.search.change_reader import prune
from bemi_django.log.keys import json_of, models_of
from bemi_django.log.live.live_rows import find_row
from bemi_django.log.live.row_session import row_session
from bemi_django.log.places import place_of


def live_row(instance: models.Model, alias: str) -> dict[str, Any] | None:
    """Return the row of an object by column, including the tables of parent models.

    Args:
        instance: The object.
        alias: Alias of the database that has it.

    Returns:
        The row; None if a value is nested too deeply to be read.
    """
    try:
        return _read_row(instance, alias)
    except RecursionError:
        return None


def _read_row(instance: models.Model, alias: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    with row_session(alias) as cursor:
        for table in reversed(models_of(instance)):
            place = place_of(table, alias)
            key = {
                field.column: json_of(field, getattr(instance, field.attname)) for field in key_fields(table)
            }
            row |= prune(find_row(cursor, (place.schema, place.table), key) or {})
    return row
