"""The present row of an object, as the log would have it, and which of it the log takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search.change_reader import prune
from bemi_django.admin.search.paging import nearest_change
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.keys import json_of, key_fields, models_of
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


def logged_columns(viewer: Viewer, tables: Iterable[type[models.Model]], key: str) -> set[str]:
    """Return the columns of an object whose values the log takes as they are.

    The last change of each of its rows tells which they are; without one, none is known to be.

    Args:
        viewer: Whose permissions apply.
        tables: The model of the object, and its parents.
        key: The key of the object.
    """
    found: set[str] = set()
    for table in tables:
        last = nearest_change(of_rows(viewer.changes().for_model(table)), [key])
        if last is not None:
            masked = {*(last.unavailable or {}).get("masked", ())} - viewer.encrypted.readable(last)
            now = viewer.logged_models.names_in(last).now
            found |= set(map(now, (last.after or last.before).keys() - masked))
    return found


def of_rows(changes: ChangeQuerySet) -> ChangeQuerySet:
    """Return the changes of rows among those of a table."""
    return changes.exclude(operation__in=("EVENT", "ERASED"))


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
