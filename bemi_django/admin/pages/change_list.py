"""The page that lists changes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.formats import number_format

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import rows
from bemi_django.admin.display.site_time import next_midnight, today
from bemi_django.admin.pages.export import formats
from bemi_django.admin.pages.list_neighbours import list_query
from bemi_django.admin.search import date_links, row_estimate
from bemi_django.admin.search.archive_search import archive_is_there
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.paging import Page, cursor_before, cursor_of, read_page
from bemi_django.admin.search.suggestions import suggestions

#: How many of the newest changes suggest users and endpoints, and for how long (seconds).
_SUGGESTING = 2000
_FRESH = 60


def template_context(request: HttpRequest, viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template."""
    form = FilterForm(request.GET, viewer)
    filtered = form.changes()
    asked = getattr(form, "cleaned_data", {})
    cursor = cursor_of(request.GET)
    if cursor.id is None and asked.get("until") and (end := next_midnight(asked["until"])):
        cursor = cursor_before(end)
    page = read_page(filtered.changes, cursor, is_filtered=filtered.is_filtered, timeout=filtered.timeout)
    count = row_estimate.matching(filtered.changes) if filtered.is_filtered else row_estimate.total()
    estimate = row_estimate.rounded(max(count, len(page.changes)))
    is_whole = (cursor.id is None or cursor.is_first) and page.older is None
    return {
        "form": form,
        "rows": list(rows(page.changes, viewer)),
        "page": page,
        "list_query": list_query(request.GET),
        "older": _address(request.GET, older=page.older),
        "newer": _address(request.GET, newer=page.newer),
        "newest": _address(request.GET),
        "archive": f"{viewer.url('archive')}{_address(request.GET)}"
        if page.older is None and archive_is_there()
        else None,
        "count": len(page.changes),
        "estimate": estimate,
        "about": number_format(estimate, force_grouping=True),
        "is_estimate": not is_whole,
        "is_unfinished": page.is_partial and not page.changes,
        "is_filtered": any(request.GET.get(name) for name in form.fields),
        "is_future": any(day and day > today() for day in (asked.get("since"), asked.get("until"))),
        "dates": date_links.links(request.GET, asked.get("since"), asked.get("until")),
        "suggestions": suggestions(viewer)._asdict(),
        "exports": _exports(viewer) if viewer.has("export") and form.is_valid() else [],
        "is_empty_log": _is_empty(page, viewer),
    }


def _address(parameters: QueryDict, **changed: Any) -> str | None:
    query = parameters.copy()
    for name in ("older", "newer"):
        query.pop(name, None)
    for name, value in changed.items():
        if value is None:
            return None
        query[name] = str(value)
    return f"?{query.urlencode()}"


def _exports(viewer: Viewer) -> list[tuple[str, str]]:
    query = viewer.request.GET.copy()
    for name in ("older", "newer", "format"):
        query.pop(name, None)
    found = []
    for name, label in formats():
        query["format"] = name
        found.append((label, f"{viewer.url('export')}?{query.urlencode()}"))
    return found


def _is_empty(page: Page, viewer: Viewer) -> bool:
    return not page.changes and not viewer.request.GET and not viewer.changes()[:1]
