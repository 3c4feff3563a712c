"""Read a row of a table that is known by its place, each time with a connection of its database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db import DataError

from bemi_django.log.live.live_rows import find_rows
from bemi_django.log.live.live_tables import RowValues, read_catalog
from bemi_django.log.live.present_types import rendered
from bemi_django.log.live.row_session import row_session
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import Place, alias_of


def row_like(place: Place, row: Mapping[str, Any]) -> RowValues | None:
    """Return the row of a table that has the key of a logged row, or None."""
    name = place.schema, place.table
    try:
        with row_session(alias_of(place.database)) as cursor:
            table = read_catalog(cursor, json.dumps([name])).tables.get(name)
            if table is None or not table.key or not all(column in row for column in table.key):
                return None
            rows = find_rows(cursor, table, [{column: row[column] for column in table.key}], lock=False)
    except DataError:
        # The columns of the key had other types, or were no key, when the change was made.
        return None
    return rows.get(0)


def as_now(place: Place, now: Mapping[str, Any], values: Mapping[str, Any]) -> RowValues:
    """Return logged values as the types of now give them.

    Args:
        place: The table.
        now: A row of it.
        values: Logged values of columns that it has.

    Returns:
        The values, of which those that the row does not have as they are were given the form of now.
    """
    other = {column: value for column, value in values.items() if dumps(value) != dumps(now[column])}
    if not other:
        return dict(values)
    name = place.schema, place.table
    with row_session(alias_of(place.database)) as cursor:
        table = read_catalog(cursor, json.dumps([name])).tables.get(name)
        return {**values, **(rendered(cursor, table, [other])[0] if table is not None else {})}
