"""The addresses of the list, relative to its page."""

from __future__ import annotations

from django.http import QueryDict

#: The list of all changes: one without a query may begin with a saved view.
WHOLE = "?view=actions"


def list_address(query: QueryDict) -> str:
    """Return the address of the list with a query."""
    return f"?{query.urlencode()}" if query else WHOLE
