"""Search the archive with the query of the list: PostgreSQL answers it for rows that are read from the files.

The rows take the place of the log in the query. So scopes, tenants and filters mean the same for both.
"""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.utils.translation import gettext as _

from bemi_django import conf
from bemi_django.admin.search.change_reader import prune
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

if TYPE_CHECKING:
    from bemi_django.archive.backwards import ArchivedRows, ArchivePlace, Wanted

SIZE = 50
#: Time spent searching before a page is shown.
BUDGET_SECONDS = 1.0

_ARCHIVED = "_bemi_archived"
_JSON = ("before", "after", "context")
# JSON travels as text: a null in it must not become NULL. A moment is its number of microseconds since 1970.
_TYPES = {
    "bigint": ("int8", 'c."{0}"'),
    "boolean": ("bool", 'c."{0}"'),
    "jsonb": ("text", 'c."{0}"::pg_catalog.jsonb'),
    "text": ("text", 'c."{0}"'),
    "timestamptz": (
        "int8",
        "'1970-01-01 00:00:00+00'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) "
        "(c.\"{0}\"::pg_catalog.float8 OPERATOR(pg_catalog.*) '1 us'::pg_catalog.interval)",
    ),
    "uuid": ("uuid", 'c."{0}"'),
}


class ArchivedPage(NamedTuple):
    """Archived changes, newest first.

    Attributes:
        changes: The changes.
        older: Where the next page begins, or None on the last one.
        is_partial: Whether the search ran out of time.
    """

    changes: list[Change]
    older: ArchivePlace | None
    is_partial: bool


def search_archive(changes: ChangeQuerySet, place: ArchivePlace | None, wanted: Wanted) -> ArchivedPage:
    """Return a page of archived changes that a query selects.

    Args:
        changes: The query.
        place: Where the page begins, or None for the newest one.
        wanted: What the query asks for, as far as the files can answer it.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    from bemi_django.archive.backwards import read_backwards
    from bemi_django.archive.location import open_location

    found: list[Change] = []
    deadline = time.monotonic() + BUDGET_SECONDS
    for rows in read_backwards(open_location(conf.archive()), place, wanted):
        places = dict(zip(rows.table.column("id").to_pylist(), rows.places, strict=True))
        matches = sorted(_matching(changes, rows), key=lambda change: places[str(change.pk)], reverse=True)
        taken = matches[: SIZE - len(found)]
        found += taken
        if len(found) == SIZE:
            return ArchivedPage(found, places[str(taken[-1].pk)], is_partial=False)
        if time.monotonic() > deadline:
            return ArchivedPage(found, rows.places[0], is_partial=True)
    return ArchivedPage(found, None, is_partial=False)


def _matching(changes: ChangeQuerySet, rows: ArchivedRows) -> list[Change]:
    try:
        return [_pruned(change) for change in _asked(changes, rows)]
    except RecursionError:
        # A value is nested more deeply than Python parses. The others are shown without their values.
        without = list(_asked(changes.defer(*_JSON), rows))
        for change in without:
            for name in _JSON:
                setattr(change, name, {_("(nested too deeply to be read)"): None})
        return without


def _asked(changes: ChangeQuerySet, rows: ArchivedRows) -> list[Change]:
    """Return the rows that the query selects."""
    try:
        query, parameters = changes.order_by().query.get_compiler(changes.db).as_sql()
    except EmptyResultSet:
        return []
    log = f'"{conf.db_table()}"'
    name = log
    if '"."' in log:
        # A table with a schema is not hidden by the name of a subquery.
        name = f'"{_ARCHIVED}"'
        query = query.replace(log, name)
    return list(
        Change.objects.using(changes.db).raw(
            f"WITH {name} AS ({_source()}) {query}", [_json(rows), *parameters]
        )
    )


def _source() -> str:
    from bemi_django.archive.columns import log_columns

    columns = log_columns()
    kinds = ", ".join(f'"{name}" pg_catalog.{_TYPES[kind][0]}' for name, kind in columns.items())
    values = ", ".join(f'{_TYPES[kind][1].format(name)} AS "{name}"' for name, kind in columns.items())
    rows = "pg_catalog.json_to_recordset(%s::pg_catalog.json)"
    return f"SELECT {values} FROM {rows} AS c ({kinds})"  # noqa: S608 - the model's names


def _json(rows: ArchivedRows) -> str:
    import pyarrow

    table = rows.table
    for number, field in enumerate(table.schema):
        if pyarrow.types.is_timestamp(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(pyarrow.int64()))
    return json.dumps(table.to_pylist(), ensure_ascii=False)


def _pruned(change: Change) -> Change:
    for name in _JSON:
        setattr(change, name, prune(getattr(change, name)))
    return change


def archive_is_there() -> bool:
    """Return whether there is an archive that can be searched."""
    return bool(conf.archive()) and find_spec("pyarrow") is not None
