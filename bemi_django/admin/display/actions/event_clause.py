"""Say which events happened. Names that others chose are in quotes: one may read like an operation."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions import nouns
from bemi_django.admin.display.actions.action import ChangeKind
from bemi_django.admin.display.actions.known_events import known_event
from bemi_django.admin.display.object_labels import ObjectLabel, ObjectLabels
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.models import Change

#: Marks that would end a quotation in one of the languages.
_MARKS = dict.fromkeys(map(ord, "“”„«»"), "'")


def event_clause(
    kind: ChangeKind, count: int, number: str, shown: Sequence[Change], viewer: Viewer, objects: ObjectLabels
) -> SafeString:
    """Return what happened: the name of the event and its object, or how many objects it happened to.

    Args:
        kind: The kind of the events.
        count: How many there are.
        number: The same for people.
        shown: Those that are known, all of them or none.
        viewer: Who reads it.
        objects: The labels of their objects.
    """
    names = {str(viewer.context(change).get("event", "")) for change in shown}
    if len(names) != 1 or "" in names:
        text = ngettext("recorded {number} event", "recorded {number} events", count)
        return format_html(text, number=number)
    (name,) = names
    if len(shown) == 1:
        return one_event(shown[0], viewer, objects.of(shown[0]))
    if all(change.primary_key is None for change in shown):
        return format_html(_("recorded {event} ×{number}"), event=_quoted(name), number=number)
    text = _("recorded {event} for {number} {name}")
    plural = nouns.noun(kind, viewer, is_plural=True)
    return format_html(text, event=_quoted(name), number=number, name=plural)


def one_event(change: Change, viewer: Viewer, about: ObjectLabel) -> SafeString:
    """Return what happened: the name of one event and its object.

    Args:
        change: The event.
        viewer: Who reads it.
        about: The label of its object.
    """
    context = viewer.context(change)
    name = context.get("event")
    if not name:
        return format_html(ngettext("recorded {number} event", "recorded {number} events", 1), number="1")
    linked = nouns.object_link(about) if change.primary_key is not None else None
    if (known := known_event(str(name), context.get("details"), linked)) is not None:
        return known
    if linked is None:
        return format_html(_("recorded {event}"), event=_quoted(str(name)))
    return format_html(_("recorded {event} for {object}"), event=_quoted(str(name)), object=linked)


def _quoted(name: str) -> SafeString:
    # A name does not end its own quotation.
    return format_html(_("“{name}”"), name=format_html("<b>{}</b>", in_order(name).translate(_MARKS)))
