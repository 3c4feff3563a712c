"""Which columns of a table the worker has left out of the log, and until when."""

from __future__ import annotations

from bemi_django import conf
from bemi_django.log.live.column_names import ColumnNames
from bemi_django.log.places import Place
from bemi_django.schema.search_path import closed_cursor

_COLUMNS = """
SELECT "column", max(last)::bigint FROM _bemi.omitted_columns
WHERE last > 0 AND (schema, "table") = (%s, %s) GROUP BY 1
"""


def omitted_columns(place: Place, names: ColumnNames) -> dict[str, int]:
    """Return the columns that were left out, each with the sequence number of the last change without it.

    A row may have been updated without a trace until then. A table of the same name in another database
    counts as well.

    Args:
        place: The table.
        names: The names of its columns.
    """
    with closed_cursor(conf.destination()) as cursor:
        cursor.execute(_COLUMNS, [place.schema, place.table])
        found: dict[str, int] = {}
        for column, last in cursor.fetchall():
            for present in names.present(column):
                found[present] = max(last, found.get(present, 0))
    return found
