"""Rows that are gone: the last DELETE of each that nobody has put back."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Q
from django.utils.http import urlencode

from bemi_django.admin.access.logged_models import LoggedModel, LoggedModels
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import ListedRow, rows
from bemi_django.admin.display.object_labels import live_instances
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import cursor_of, read_page
from bemi_django.models import Change


class DeletedObject(NamedTuple):
    row: ListedRow
    may_restore: bool


def template_context(viewer: Viewer) -> dict[str, Any]:
    """What the template shows, of all models or of ``?table=``."""
    parameters = viewer.request.GET
    tables = LoggedModels()
    table = parameters.get("table", "")
    changes = viewer.changes().deleted()
    if table:
        changes = changes.filter(Q(table=table))
    page = read_page(
        changes,
        cursor_of(parameters),
        is_filtered=True,
        timeout=query_timeouts.FILTER if table else query_timeouts.NO_INDEX,
    )
    gone = _gone(page.changes, tables)
    may_revert = viewer.has("revert")
    shown = [row for row in rows(page.changes, viewer, tables) if row.change.pk in gone]
    query = f"{urlencode({'table': table})}&" if table else ""
    return {
        "gone": [
            DeletedObject(row, may_revert and viewer.may("add", gone[row.change.pk].model)) for row in shown
        ],
        "table": table,
        "tables": tables.labelled(),
        "page": page,
        "older": page.older and f"?{query}older={page.older}",
        "newer": page.newer and f"?{query}newer={page.newer}",
    }


def _gone(changes: list[Change], tables: LoggedModels) -> dict[Any, LoggedModel]:
    """Places of those whose row is not there now, only the last DELETE of each."""
    places = {change.pk: tables.model_of(change) for change in changes}
    keys: dict[LoggedModel, set[str]] = {}
    for change in changes:
        place = places[change.pk]
        if place is not None and change.primary_key is not None:
            keys.setdefault(place, set()).add(change.primary_key)
    alive = {(place, key) for place, wanted in keys.items() for key in live_instances(place, wanted)}
    found: dict[Any, LoggedModel] = {}
    seen: set[tuple[LoggedModel, str]] = set()
    for change in changes:
        place = places[change.pk]
        if place is None or change.primary_key is None:
            continue
        row = (place, change.primary_key)
        if row not in alive and row not in seen:
            seen.add(row)
            found[change.pk] = place
    return found
