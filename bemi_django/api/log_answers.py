"""Answers about changes: a list of them, one, those of a transaction and of a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import Http404
from django.utils.translation import gettext as _

from bemi_django.admin.display.actions.run import ActionRun
from bemi_django.admin.display.actors import Actor, Actors
from bemi_django.admin.pages.requests.request_page import (
    FoundChanges,
    common_context,
    read_run,
    read_transaction,
)
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.paging import Page, PageCursor, read_page
from bemi_django.api.api_viewer import ApiViewer
from bemi_django.api.parameters import Given
from bemi_django.api.problems import ApiProblem, refused
from bemi_django.models import Change


def changes(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return a page of the changes that match the filters, the newest first."""
    form = FilterForm(viewer.request.GET, viewer)
    filtered = form.changes()
    if not form.is_valid():
        raise refused({name: [str(text) for text in texts] for name, texts in form.errors.items()})
    cursor = cursor_in(given)
    page = read_page(
        filtered.changes,
        form.first_place() if cursor.id is None else cursor,
        is_filtered=filtered.is_filtered,
        timeout=filtered.timeout,
        size=given["limit"],
    )
    return {"results": described(page.changes, viewer), **places(page, viewer)}


def change(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return one change."""
    found = described(read_changes(viewer.changes().filter(pk=given["id"])), viewer)
    if not found:
        raise Http404
    return found[0]


def transaction(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return the changes of the transaction of a change."""
    return _together(read_transaction(given["id"], viewer), viewer)


def request(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return the changes of a request."""
    found = read_run(ActionRun("request_id", given["id"]), viewer)
    if found is None:
        raise ApiProblem(
            503,
            _("The request has too many changes to be found in time. List them with %s.") % "q=request:<id>",
        )
    return _together(found, viewer)


def cursor_in(given: Given) -> PageCursor:
    """Return where the page begins that the parameters ``older`` and ``newer`` ask for."""
    if given["older"] is not None:
        return PageCursor(given["older"])
    return PageCursor(given["newer"], given["newer"] is not None)


def places(page: Page, viewer: ApiViewer) -> dict[str, Any]:
    """Return the addresses of the neighbouring pages, and whether the search is to be continued."""
    return {
        "older": _address(viewer, "older", page.older),
        "newer": _address(viewer, "newer", page.newer),
        "is_partial": page.is_partial,
    }


def _address(viewer: ApiViewer, name: str, place: object) -> str | None:
    if place is None:
        return None
    query = viewer.request.GET.copy()
    for other in ("older", "newer"):
        query.pop(other, None)
    query[name] = str(place)
    return f"{viewer.request.path}?{query.urlencode()}"


def _together(found: FoundChanges, viewer: ApiViewer) -> dict[str, Any]:
    return {
        "context": common_context(found.changes, viewer),
        "results": described(found.changes, viewer),
        "is_cut": found.is_cut,
    }


def described(found: Iterable[Change], viewer: ApiViewer) -> list[dict[str, Any]]:
    """Return changes with masked values hidden, their actors, and the names of columns that they changed."""
    found = list(found)
    actors = Actors(found, viewer)
    return [
        {
            **viewer.record(one),
            "changed": [value.name for value in viewer.values(one) if value.is_changed],
            "actor": actor_json(actors.actor_of(one)),
        }
        for one in found
    ]


def actor_json(actor: Actor) -> dict[str, Any]:
    """Return who made a change."""
    return {
        "label": actor.label,
        "is_person": actor.is_person,
        "is_visitor": actor.is_visitor,
        "is_outside": actor.is_outside,
        "is_unverified": actor.is_unverified,
    }
