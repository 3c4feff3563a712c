"""The list of changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.http import Http404, HttpRequest, QueryDict
from django.urls import reverse
from django.utils.formats import number_format

from bemi_django.admin import calendar, estimate
from bemi_django.admin.filters import FilterForm, midnight
from bemi_django.admin.paging import Cursor, Page, first_before, no_scan, read_page
from bemi_django.admin.people import user_names
from bemi_django.admin.rows import rows
from bemi_django.admin.tables import LoggedModels
from bemi_django.admin.viewer import Viewer
from bemi_django.models import Change

#: How many of the newest changes suggest users and endpoints, and for how long (seconds).
_SUGGESTING = 2000
_FRESH = 60


def context_of(request: HttpRequest, viewer: Viewer) -> dict[str, Any]:
    """What the template of the list shows."""
    tables = LoggedModels()
    form = FilterForm(request.GET, viewer, tables)
    filtered = form.changes()
    asked = getattr(form, "cleaned_data", {})
    cursor = cursor_of(request.GET)
    if cursor.id is None and asked.get("until"):
        cursor = first_before(midnight(asked["until"] + timedelta(days=1)))
    page = read_page(filtered.changes, cursor, is_filtered=filtered.is_filtered, wait=filtered.wait)
    count = estimate.matching(filtered.changes) if filtered.is_filtered else estimate.total()
    is_whole = (cursor.id is None or cursor.is_first) and page.older is None
    return {
        "form": form,
        "rows": list(rows(page.changes, viewer, tables)),
        "page": page,
        "older": _address(request.GET, older=page.older),
        "newer": _address(request.GET, newer=page.newer),
        "newest": _address(request.GET),
        "count": len(page.changes),
        "about": number_format(estimate.rounded(max(count, len(page.changes))), force_grouping=True),
        "is_estimate": not is_whole,
        "is_filtered": any(request.GET.get(name) for name in form.fields),
        "dates": calendar.links(request.GET, asked.get("since"), asked.get("until")),
        "suggestions": suggestions(viewer),
        "exports": _exports(request.GET) if viewer.has("export") else [],
        "is_empty_log": _is_empty(page, request.GET),
    }


def cursor_of(parameters: QueryDict) -> Cursor:
    """Where the page begins. Raises Http404 for what is no id."""
    try:
        for name in ("older", "newer"):
            if parameters.get(name):
                return Cursor(UUID(str(parameters[name])), name == "newer")
    except ValueError:
        raise Http404 from None
    return Cursor()


def suggestions(viewer: Viewer) -> dict[str, list[str]]:
    """Users and endpoints of the newest changes that the viewer may see."""
    key = f"bemi.suggestions.{viewer.request.user.pk}"
    found: dict[str, list[str]] | None = cache.get(key)
    if found is None:
        with no_scan():
            newest = viewer.changes().order_by("-id").values_list("context__user_id", "context__endpoint")
            pairs = set(newest[:_SUGGESTING])
        ids = {str(user) for user, _ in pairs if user is not None}
        endpoints = {str(endpoint) for _, endpoint in pairs if endpoint}
        names = user_names(ids)
        found = {
            "users": sorted({names.get(user, user) for user in ids})[:100],
            "endpoints": sorted(endpoints)[:100],
        }
        cache.set(key, found, _FRESH)
    return found


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
    from bemi_django.admin.export import formats

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
