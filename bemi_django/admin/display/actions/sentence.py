"""Say what an action did, as in "created order 12 with 2 lines, changed 2 products"."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action import AuditAction, kind_of
from bemi_django.admin.display.actions.clauses import Clauses
from bemi_django.admin.display.object_labels import ObjectLabels
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.admin.display.values.text_lists import html_list

#: The number of clauses.
_CLAUSES = 4


def sentence(action: AuditAction, viewer: Viewer, objects: ObjectLabels, formatter: Formatter) -> SafeString:
    """Return what an action did.

    Args:
        action: The action.
        viewer: Who reads it.
        objects: The labels of the objects of its changes.
        formatter: Shows values; see ``learn()``.
    """
    found = list(Clauses(action, viewer, objects, formatter))
    more = len(found) - _CLAUSES
    if more > 0:
        rest = ngettext("and did %(count)s other thing", "and did %(count)s other things", more)
        found = [*found[:_CLAUSES], format_html("{}", rest % {"count": more})]
    return html_list(found)


def learn(actions: Iterable[AuditAction], formatter: Formatter) -> None:
    """Let a formatter take note of the rows that sentences name as values."""
    for action in actions:
        for change in action.changes:
            kind = kind_of(change)
            if kind.operation == "UPDATE" and action.counts[kind] == 1:
                formatter.learn_changes([change])
