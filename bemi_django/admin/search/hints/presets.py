"""Filters that many people want, each a link that sets or removes it."""

from __future__ import annotations

from typing import NamedTuple

from django.http import QueryDict
from django.utils.translation import gettext as _

from bemi_django import signing_keys
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search.chips import without


class Preset(NamedTuple):
    """A filter, and the query string of the list with it, or without it if it is chosen."""

    label: str
    query: str
    is_chosen: bool


def presets(parameters: QueryDict, viewer: Viewer) -> list[Preset]:
    """Return the filters.

    Args:
        parameters: The query string of the request.
        viewer: The user who sees the list.
    """
    wanted = [
        (_("Outside the application"), "outside", "on"),
        (_("Deletions"), "operation", "DELETE"),
    ]
    if signing_keys.are_configured():
        wanted.append((_("Unverified"), "unverified", "on"))
    if not viewer.masks.hide_context_key("user_id"):
        user = viewer.request.user
        name = user.get_username() if viewer.may_see_user_names() else user.pk
        wanted.append((_("My changes"), "user", str(name)))
    return [_preset(parameters, *each) for each in wanted]


def _preset(parameters: QueryDict, label: str, name: str, value: str) -> Preset:
    if parameters.get(name) == value:
        return Preset(label, without(parameters, name), True)
    query = parameters.copy()
    query[name] = value
    return Preset(label, without(query), False)
