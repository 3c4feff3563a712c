"""The place of a change in the filtered list that led to its page."""

from __future__ import annotations

from typing import NamedTuple

from django.http import QueryDict
from django.utils.http import urlencode

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.filters.filtered_changes import FilteredChanges
from bemi_django.admin.search.paging import PageCursor, read_page
from bemi_django.models import Change

#: As Django's admin calls the filters of the list that a form was opened from.
_FILTERS = "_changelist_filters"


class ListNeighbours(NamedTuple):
    """The neighbours of a change in a list.

    Attributes:
        newer: The URL of the next newer change of the list, or None.
        older: The URL of the next older one, or None.
        url: The URL of the list.
    """

    newer: str | None
    older: str | None
    url: str


def list_query(filters: QueryDict) -> str:
    """Return the query string with which a change's page knows the list that it was opened from."""
    query = filters.copy()
    for name in ("older", "newer"):
        query.pop(name, None)
    return f"?{urlencode({_FILTERS: query.urlencode()})}"


def list_neighbours(change: Change, viewer: Viewer) -> ListNeighbours | None:
    """Return the place of a change in the list that its page was opened from, or None."""
    text = viewer.request.GET.get(_FILTERS)
    if text is None:
        return None
    filters = QueryDict(text)
    filtered = FilterForm(filters, viewer).changes()
    newer, older = (_neighbour(filtered, change, is_newer=is_newer) for is_newer in (True, False))
    query = list_query(filters)
    newer_url, older_url = (
        f"{viewer.url('change', found.pk)}{query}" if found else None for found in (newer, older)
    )
    return ListNeighbours(newer_url, older_url, f"{viewer.url('changelist')}?{text}")


def _neighbour(filtered: FilteredChanges, change: Change, *, is_newer: bool) -> Change | None:
    cursor = PageCursor(change.pk, is_newer, committed_at=change.committed_at)
    page = read_page(
        filtered.changes, cursor, is_filtered=filtered.is_filtered, timeout=filtered.timeout, size=1
    )
    return page.changes[0] if page.changes else None
