"""The history page of an object: its changes and those of the rows that belong to it."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.db import models
from django.http import QueryDict
from django.utils.translation import gettext as _

from bemi_django.admin.access.own_events import note
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.history.moment_form import MomentForm
from bemi_django.admin.pages.history.object_state import ObjectState
from bemi_django.admin.pages.history.parts import belongings_of
from bemi_django.admin.pages.history.subject import HistorySubject, subject_of
from bemi_django.admin.pages.history.timeline_form import ALL, OWN, PARTS, TimelineForm
from bemi_django.admin.pages.history.timeline_steps import timeline_steps
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import SIZE, Page, PageCursor, cursor_of, read_page
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only
from bemi_django.log.belongings import Belonging
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.object_changes import of_belonging
from bemi_django.log.places import complete_from, place_of

#: Changes of children are found by a value in the row, which is too slow for more changes than this.
_MOST_CHILDREN = 5000


class TimelinePage(NamedTuple):
    """A page of the changes of an object.

    Attributes:
        page: The changes.
        own: The ids of those that are the object's own, and not of rows that belong to it.
        is_whole: Whether the changes of all rows that belong to it were found in time.
        parts: The rows that are its parts.
        others: Other rows that refer to it.
    """

    page: Page
    own: set[Any]
    is_whole: bool
    parts: list[Belonging]
    others: list[Belonging]


def read_timeline(
    subject: HistorySubject, form: TimelineForm, cursor: PageCursor, size: int = SIZE
) -> TimelinePage:
    """Read a page of the changes of an object and of the rows that belong to it.

    Args:
        subject: The object, and the user who sees it.
        form: Which changes, after ``is_valid()``.
        cursor: Where the page begins.
        size: The number of changes on a page.
    """
    parts, others = belongings_of(subject)
    shown = {OWN: [], PARTS: parts, ALL: [*parts, *others]}[form.whose]
    own = subject.changes()
    changes, is_whole = _with_children(subject.viewer, own, shown)
    page = read_page(
        form.filtered(changes),
        cursor,
        is_filtered=True,
        timeout=query_timeouts.LOOKUP,
        size=size,
        is_one_server=True,
    )
    ids = [change.pk for change in page.changes]
    own_ids = set(own.filter(pk__in=ids).values_list("pk", flat=True))
    return TimelinePage(page, own_ids, is_whole, parts, others)


def template_context(viewer: Viewer, app_label: str, model_name: str, object_id: str) -> dict[str, Any]:
    """Return the context of the template.

    Raises:
        Http404: If there is no such model, or neither the object nor a change of it.
        PermissionDenied: If the viewer may not view the object, or keys of the model are masked.
    """
    subject = subject_of(viewer, app_label, model_name, object_id)
    parameters = viewer.request.GET
    form = TimelineForm(parameters, viewer)
    form.is_valid()
    read = read_timeline(subject, form, cursor_of(parameters))
    page, parts, others = read.page, read.parts, read.others
    newest, instance = subject.newest, subject.instance
    may_restore = subject.is_deleted and subject.may("add")
    return {
        "heading": subject.label,
        "subject": subject,
        "of_model": subject.model,
        "kind": subject.model._meta.verbose_name,
        "object_url": None
        if instance is None
        else viewer.model_url(subject.model, "change", quote(instance.pk)),
        "is_deleted": subject.is_deleted,
        "steps": timeline_steps(subject, page.changes, read.own),
        "page": page,
        "older": _address(parameters, older=page.older),
        "newer": _address(parameters, newer=page.newer),
        "is_whole": read.is_whole,
        "complete_from": complete_from(place_of(subject.model, subject.logged.alias)),
        "filters": form,
        "switch": [
            (label, _address(parameters, related=value), value == form.whose)
            for label, value in _switch(parts, others)
        ],
        **_state(parameters, ObjectState(subject), instance),
        "restores": newest if may_restore and newest and newest.operation == "DELETE" else None,
    }


def _switch(parts: list[Belonging], others: list[Belonging]) -> list[tuple[str, str]]:
    """Return the labels of the ways to choose whose changes are shown; none if there is no choice."""
    ways = [(_("Its own"), OWN), (_("With its parts"), PARTS)] if parts else [(_("Its own"), PARTS)]
    if others:
        ways.append((_("With all that refers to it"), ALL))
    return ways if len(ways) > 1 else []


def _state(parameters: QueryDict, state: ObjectState, instance: models.Model | None) -> dict[str, Any]:
    """Return what the form asks for: the present, a moment, or what differs between two moments."""
    form = MomentForm(parameters)
    at, other = form.moments()
    asked = {"form": form, "at": at, "other": other, "is_future": form.is_future()}
    if moments := [moment.isoformat() for moment in (at, other) if moment is not None]:
        note("time_travel", instance, moments=moments)
    if other is None:
        return {**asked, **(state.at(at) if at else state.now())}
    # Without a first moment, the second one is compared with the present.
    first, second = (at, other) if at else (other, None)
    return {**asked, "is_comparison": True, "first": first, "second": second, **state.compare(first, second)}


def _address(parameters: QueryDict, **changed: Any) -> str | None:
    """Return the query of the page with other values; None if a place to go to is not known."""
    query = parameters.copy()
    for name in ("older", "newer"):
        query.pop(name, None)
    for name, value in changed.items():
        if value is None:
            return None
        query.pop(name, None)
        if value:
            query[name] = str(value)
    return f"?{query.urlencode()}"


def _with_children(
    viewer: Viewer, own: ChangeQuerySet, belongings: list[Belonging]
) -> tuple[ChangeQuerySet, bool]:
    """Return the changes of the object and its children, and whether all of them were found in time."""
    seen, is_whole = viewer.changes(), True
    ids: set[Any] = set()
    for child in belongings:
        holds = of_belonging(child, viewer.logged_models.names_of(child.model))
        referring = seen.for_model(child.model).filter(holds).order_by("-id").values_list("id", flat=True)
        try:
            with bitmap_scan_only(query_timeouts.LOOKUP):
                found = list(referring[:_MOST_CHILDREN])
        except TimedOut:
            is_whole = False
            continue
        is_whole &= len(found) < _MOST_CHILDREN
        ids |= set(found)
    return (own | seen.filter(id__in=ids) if ids else own), is_whole
