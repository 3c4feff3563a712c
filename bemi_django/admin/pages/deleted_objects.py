"""The page that lists deleted objects: the last DELETE of each row that has not been restored."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Q
from django.utils.http import urlencode

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.rows.live_rows import live_rows
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import ListedRow, rows
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import cursor_of, read_page
from bemi_django.log import conditions
from bemi_django.models import Change


class DeletedObject(NamedTuple):
    """A deletion, and whether the viewer may restore the object."""

    row: ListedRow
    may_restore: bool


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template, limited to ``?table=`` if given."""
    parameters = viewer.request.GET
    table = parameters.get("table", "")
    changes = viewer.changes().deleted()
    if not table:
        changes = changes.exclude(conditions.bookkeeping())
    elif "\0" in table:
        changes = changes.none()
    else:
        changes = changes.filter(Q(table=table))
    page = read_page(
        changes,
        cursor_of(parameters),
        is_filtered=True,
        timeout=query_timeouts.FILTER if table else query_timeouts.NO_INDEX,
    )
    deleted = _deleted(page.changes, viewer)
    may_revert = viewer.has("revert")
    shown = [row for row in rows(page.changes, viewer) if row.change.pk in deleted]
    query = f"{urlencode({'table': table})}&" if table else ""
    return {
        "deleted": [
            DeletedObject(row, may_revert and viewer.may("add", deleted[row.change.pk].model))
            for row in shown
        ],
        "table": table,
        "tables": viewer.logged_models.menu(),
        "page": page,
        "older": page.older and f"?{query}older={page.older}",
        "newer": page.newer and f"?{query}newer={page.newer}",
    }


def _deleted(changes: list[Change], viewer: Viewer) -> dict[Any, LoggedModel]:
    """Return the models of the last deletions of rows that do not exist now, by id of the change."""
    models_by_id = {change.pk: viewer.logged_models.model_of(change) for change in changes}
    keys: dict[LoggedModel, set[str]] = {}
    for change in changes:
        logged_model = models_by_id[change.pk]
        if logged_model is not None and change.primary_key is not None:
            keys.setdefault(logged_model, set()).add(change.primary_key)
    alive = {
        (logged_model, key)
        for logged_model, wanted in keys.items()
        for rows in live_rows(logged_model, wanted)
        for key in rows
    }
    found: dict[Any, LoggedModel] = {}
    seen: set[tuple[LoggedModel, str]] = set()
    for change in changes:
        logged_model = models_by_id[change.pk]
        if logged_model is None or change.primary_key is None:
            continue
        row = (logged_model, change.primary_key)
        if row not in alive and row not in seen:
            seen.add(row)
            found[change.pk] = logged_model
    return found
