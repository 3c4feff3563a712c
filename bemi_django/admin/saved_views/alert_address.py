"""The address at which a rule is made that tells of changes like those of a list."""

from __future__ import annotations

from django.utils.http import urlencode

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.saved_views.view_query import opened
from bemi_django.alerts.saved_filter import parameters_of
from bemi_django.models import AlertRule


def alert_address(viewer: Viewer, query: str, name: str = "") -> str | None:
    """Return the address, or None if there are no filters or the user may add no rules.

    Args:
        viewer: The user.
        query: The query of the list, or of a saved view.
        name: What the rule is called at first.
    """
    filters = alert_filter(query)
    address = viewer.model_url(AlertRule, "add")
    if not filters or address is None or not viewer.may("add", AlertRule):
        return None
    given = {"kind": AlertRule.Kind.FILTER.value, "filter": filters, **({"name": name} if name else {})}
    return f"{address}?{urlencode(given)}"


def alert_filter(query: str) -> str:
    """Return the filters of a query that a rule can have: without days, because it is about the future."""
    filters = parameters_of(opened(query).urlencode())
    for name in ("since", "since_time", "until", "until_time"):
        filters.pop(name, None)
    return filters.urlencode()
