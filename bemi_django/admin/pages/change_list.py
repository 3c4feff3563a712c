"""The page that lists changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.formats import number_format

from bemi_django.admin.access.logged_models import LoggedModels
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import rows
from bemi_django.admin.pages.export import formats
from bemi_django.admin.search import date_links, row_estimate
from bemi_django.admin.search.filter_form import FilterForm, midnight
from bemi_django.admin.search.paging import Page, cursor_before, cursor_of, read_page
from bemi_django.admin.search.suggestions import suggestions
from bemi_django.models import Change

#: How many of the newest changes suggest users and endpoints, and for how long (seconds).
_SUGGESTING = 2000
_FRESH = 60


def template_context(request: HttpRequest, viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template."""
    tables = LoggedModels()
    form = FilterForm(request.GET, viewer, tables)
    filtered = form.changes()
    asked = getattr(form, "cleaned_data", {})
    cursor = cursor_of(request.GET)
    if cursor.id is None and asked.get("until"):
        cursor = cursor_before(midnight(asked["until"] + timedelta(days=1)))
    page = read_page(filtered.changes, cursor, is_filtered=filtered.is_filtered, timeout=filtered.timeout)
    count = row_estimate.matching(filtered.changes) if filtered.is_filtered else row_estimate.total()
    estimate = row_estimate.rounded(max(count, len(page.changes)))
    is_whole = (cursor.id is None or cursor.is_first) and page.older is None
    return {
        "form": form,
        "rows": list(rows(page.changes, viewer, tables)),
        "page": page,
        "older": _address(request.GET, older=page.older),
        "newer": _address(request.GET, newer=page.newer),
        "newest": _address(request.GET),
        "count": len(page.changes),
        "estimate": estimate,
        "about": number_format(estimate, force_grouping=True),
        "is_estimate": not is_whole,
        "is_filtered": any(request.GET.get(name) for name in form.fields),
        "dates": date_links.links(request.GET, asked.get("since"), asked.get("until")),
        "suggestions": suggestions(viewer),
        "exports": _exports(request.GET) if viewer.has("export") else [],
        "is_empty_log": _is_empty(page, request.GET),
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


def _exports(parameters: QueryDict) -> list[tuple[str, str]]:
    query = parameters.copy()
    for name in ("older", "newer", "format"):
        query.pop(name, None)
    found = []
    for name, label in formats():
        query["format"] = name
        found.append((label, f"{reverse('admin:bemi_django_change_export')}?{query.urlencode()}"))
    return found


def _is_empty(page: Page, parameters: QueryDict) -> bool:
    return not page.changes and not parameters and not Change.objects.all()[:1]
