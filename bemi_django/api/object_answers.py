"""Answers about an object: its changes, its fields, and the values that one of them had."""

from __future__ import annotations

from typing import Any

from bemi_django.admin.access.own_events import note
from bemi_django.admin.display.actors import Actors
from bemi_django.admin.display.values.formatter import field_name
from bemi_django.admin.pages.history.field_values import FieldValue, field_history
from bemi_django.admin.pages.history.object_state import ObjectState, Setter
from bemi_django.admin.pages.history.subject import HistorySubject, subject_of
from bemi_django.admin.pages.history.timeline import read_timeline
from bemi_django.admin.pages.history.timeline_form import TimelineForm
from bemi_django.api.api_viewer import ApiViewer
from bemi_django.api.log_answers import actor_json, cursor_in, described, places
from bemi_django.api.parameters import Given
from bemi_django.api.problems import refused
from bemi_django.log.conditions import ERASED_SIDES
from bemi_django.log.live.column_names import PresentNames
from bemi_django.log.places import complete_from, place_of


def history(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return a page of the changes of an object and of its parts, the newest first."""
    return history_of(_subject(viewer, given), viewer, given)


def history_of(subject: HistorySubject, viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Do the same for an object that was found.

    Args:
        subject: The object.
        viewer: The user who asks.
        given: The parameters of the page.
    """
    form = TimelineForm(viewer.request.GET, viewer)
    if not form.is_valid():
        raise refused({name: [str(text) for text in texts] for name, texts in form.errors.items()})
    read = read_timeline(subject, form, cursor_in(given), given["limit"])
    results = [
        {**_by_present_names(line, viewer.logged_models.names_in(change)), "is_own": change.pk in read.own}
        for line, change in zip(described(read.page.changes, viewer), read.page.changes, strict=True)
    ]
    return {
        "object": _named(subject),
        "results": results,
        **places(read.page, viewer),
        "is_whole": read.is_whole,
        "complete_from": complete_from(place_of(subject.model, subject.logged.alias)),
    }


def fields(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return the fields of an object as they are and who set them, or as they were at a moment."""
    subject = _subject(viewer, given)
    state, moment = ObjectState(subject), given["at"]
    if moment is not None:
        note("time_travel", subject.instance, moments=[moment.isoformat()])
    values = state.values(moment)
    setters = state.setters() if moment is None else {}
    actors = Actors([found.change for found in setters.values() if found.change], viewer)
    results = [
        {
            "name": name,
            "label": field_name(subject.model, name),
            "value": value,
            **_set_by(setters.get(name), actors),
        }
        for name, value in sorted((values or {}).items())
    ]
    return {"object": _named(subject), "at": moment, "existed": values is not None, "results": results}


def field(viewer: ApiViewer, given: Given) -> dict[str, Any]:
    """Return a page of the values that a field had, the newest first."""
    subject = _subject(viewer, given)
    found = field_history(subject, given["field"])
    return {
        "object": _named(subject),
        "field": {"name": given["field"], "label": str(found.label), "is_masked": found.is_masked},
        "results": [_value(one) for one in found.values()],
        **places(found.page, viewer),
    }


def _subject(viewer: ApiViewer, given: Given) -> HistorySubject:
    return subject_of(viewer, given["app_label"], given["model_name"], given["key"])


def _named(subject: HistorySubject) -> dict[str, Any]:
    return {
        "model": subject.model._meta.label_lower,
        "key": subject.key,
        "label": str(subject.label),
        "is_deleted": subject.is_deleted,
    }


def _set_by(setter: Setter | None, actors: Actors) -> dict[str, Any]:
    change = setter.change if setter else None
    return {
        "change": change.pk if change else None,
        "changed_at": change.committed_at if change else None,
        "actor": actor_json(actors.actor_of(change)) if change else None,
        "is_pending": bool(setter and setter.is_pending),
    }


def _by_present_names(line: dict[str, Any], names: PresentNames) -> dict[str, Any]:
    """Return a change with the names that its columns have now."""
    unknown = line["unavailable"]
    return {
        **line,
        "before": names.renamed(line["before"]),
        "after": names.renamed(line["after"]),
        "changed": list(map(names.now, line["changed"])),
        "unavailable": unknown
        and {
            why: columns if why == ERASED_SIDES else list(map(names.now, columns))
            for why, columns in unknown.items()
        },
    }


def _value(found: FieldValue) -> dict[str, Any]:
    change = found.change
    return {
        "value": found.stored,
        "is_unknown": found.is_unknown,
        "is_deleted": change is not None and change.operation == "DELETE",
        "change": change.pk if change else None,
        "changed_at": change.committed_at if change else None,
        "actor": actor_json(found.actor) if found.actor else None,
        "reason": found.reason or None,
    }
