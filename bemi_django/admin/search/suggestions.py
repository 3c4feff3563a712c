"""Users and endpoints suggested in the filter form."""

from __future__ import annotations

from django.core.cache import cache

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.search.paging import no_seqscan

#: The number of newest changes that suggestions are taken from, and how long they are cached (seconds).
_SUGGESTING = 2000
_FRESH = 60


def suggestions(viewer: Viewer) -> dict[str, list[str]]:
    """Return the users and endpoints of the newest changes that the viewer may see."""
    key = f"bemi.suggestions.{viewer.request.user.pk}"
    found: dict[str, list[str]] | None = cache.get(key)
    if found is None:
        with no_seqscan():
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
