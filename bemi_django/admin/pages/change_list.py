"""The page that lists changes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from bemi_django import destinations
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action_lines import action_lines
from bemi_django.admin.display.change_rows import rows
from bemi_django.admin.display.site_time import today
from bemi_django.admin.pages.export import formats
from bemi_django.admin.pages.list_neighbours import list_query
from bemi_django.admin.saved_views.alert_address import alert_address
from bemi_django.admin.saved_views.saved_view_form import NewViewForm
from bemi_django.admin.saved_views.view_query import query_of
from bemi_django.admin.saved_views.visible_views import VisibleViews
from bemi_django.admin.search import date_links, row_estimate
from bemi_django.admin.search.action_search import read_actions
from bemi_django.admin.search.archive_search import archive_is_there
from bemi_django.admin.search.chips import chips, without
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.filters.list_address import list_address
from bemi_django.admin.search.hints.facets import FacetCounts, facets
from bemi_django.admin.search.hints.found_objects import found_objects
from bemi_django.admin.search.hints.presets import presets
from bemi_django.admin.search.logs.listed_logs import ListedLogs, listed_logs
from bemi_django.admin.search.paging import Page, PageCursor, cursor_of
from bemi_django.admin.search.suggestions import suggestions
from bemi_django.log.conditions import is_one_endpoint


def template_context(request: HttpRequest, viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template: of actions, or of rows with ``?view=rows``."""
    form = FilterForm(request.GET, viewer)
    logs = listed_logs(request.GET, form, viewer)
    asked = getattr(form, "cleaned_data", {})
    cursor = cursor_of(request.GET)
    if cursor.id is None:
        cursor = form.first_place()
    is_rows = request.GET.get("view") == "rows"
    is_of_all, is_first = destinations.are_all_meant(), cursor_of(request.GET).id is None
    has_facets = form.is_valid() and is_first and not is_of_all
    counts = FacetCounts(logs, cursor, viewer) if has_facets else None
    latest = counts.latest if counts else None
    found = _rows(logs, cursor, viewer) if is_rows else _actions(logs, cursor, viewer, latest)
    page, count = found["page"], found["count"]
    estimate = row_estimate.rounded(max(logs.estimate(), count))
    terms = asked.get("q")
    is_filtered = any(request.GET.get(name) for name in form.fields)
    return found | {
        "form": form,
        "views": _views(request.GET, is_rows=is_rows),
        "is_rows": is_rows,
        "chips": chips(form, request.GET),
        "clear": without(request.GET, *form.fields),
        "list_query": list_query(request.GET),
        "older": _address(request.GET, older=page.older),
        "newer": _address(request.GET, newer=page.newer),
        "newest": _address(request.GET),
        "archive": f"{viewer.url('archive')}{_address(request.GET)}"
        if page.older is None and not is_of_all and archive_is_there()
        else None,
        "estimate": estimate,
        "about": number_format(estimate, force_grouping=True),
        "is_estimate": (cursor.id is not None and not cursor.is_first) or page.older is not None,
        "is_unfinished": page.is_partial and not count,
        "is_future": any(day and day > today() for day in (asked.get("since"), asked.get("until"))),
        "readings": terms.readings if terms else (),
        "below": _below(request.GET, asked.get("endpoint", "")),
        "found_objects": found_objects(" ".join(terms.free_words), viewer)
        if terms and is_first and not is_of_all
        else [],
        "dates": date_links.links(request.GET, asked.get("since"), asked.get("until")),
        "presets": presets(request.GET, viewer),
        "facets": facets(form, counts, viewer) if counts else None,
        "suggestions": suggestions(viewer)._asdict(),
        **(_saved_views(request.GET, viewer) if form.is_valid() else {}),
        "exports": _exports(viewer) if viewer.has("export") and form.is_valid() and not is_of_all else [],
        "is_empty_log": not count and not is_filtered and cursor.id is None and not _has_some(viewer),
    }


def _has_some(viewer: Viewer) -> bool:
    for alias in destinations.meant():
        with destinations.here(alias):
            if viewer.changes()[:1]:
                return True
    return False


def _rows(logs: ListedLogs, cursor: PageCursor, viewer: Viewer) -> dict[str, Any]:
    page = logs.page(cursor)
    return {"page": page, "rows": list(rows(page.changes, viewer)), "count": len(page.changes)}


def _actions(logs: ListedLogs, cursor: PageCursor, viewer: Viewer, latest: Page | None) -> dict[str, Any]:
    page = read_actions(logs, cursor, latest)
    return {
        "page": page,
        "actions": list(action_lines(page.actions, viewer)),
        "count": sum(action.total for action in page.actions),
    }


def _views(parameters: QueryDict, *, is_rows: bool) -> list[tuple[str, str, bool]]:
    """Return the labels and query strings of both views of the list, and which one this is."""
    rest = without(parameters, "view")
    query = parameters.copy()
    query["view"] = "rows"
    return [(_("Actions"), rest, not is_rows), (_("Rows"), without(query), is_rows)]


def _saved_views(parameters: QueryDict, viewer: Viewer) -> dict[str, Any]:
    views, query = VisibleViews(viewer), query_of(parameters)
    chosen = views.chosen(parameters)
    is_new = bool(query) and chosen is None and views.may_save
    return {
        "saved_views": views.links(parameters),
        "own_names": [view.name for view in views.own],
        "new_view": NewViewForm(None, views, query.urlencode()) if is_new else None,
        "alert_url": alert_address(viewer, query.urlencode(), chosen.name if chosen else ""),
    }


def _below(parameters: QueryDict, endpoint: str) -> tuple[str, str] | None:
    """Return an endpoint for all that begin so, and the query string of the list of their changes."""
    if not endpoint or not is_one_endpoint(endpoint):
        return None
    return endpoint, f"{_address(parameters, endpoint=f'{endpoint}*')}"


def _address(parameters: QueryDict, **changed: Any) -> str | None:
    query = parameters.copy()
    for name in ("older", "newer"):
        query.pop(name, None)
    for name, value in changed.items():
        if value is None:
            return None
        query[name] = str(value)
    return list_address(query)


def _exports(viewer: Viewer) -> list[tuple[str, str]]:
    query = viewer.request.GET.copy()
    for name in ("older", "newer", "format", "view"):
        query.pop(name, None)
    found = []
    for name, label in formats():
        query["format"] = name
        found.append((label, f"{viewer.url('export')}?{query.urlencode()}"))
    return found
