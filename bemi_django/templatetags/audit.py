"""Show the history of an object on one's own pages: ``{% load audit %}``.

What is shown is what the user of the request may see of it in the admin; for others, the tags show nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, models
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bemi_django.admin.access.chosen_log import unreached
from bemi_django.admin.display.actors import Actors
from bemi_django.admin.display.list_columns import shown_change
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.admin.pages.history.latest import or_unreadable, render_latest
from bemi_django.admin.pages.history.object_state import ObjectState
from bemi_django.admin.pages.history.subject import HistorySubject, subject_of_instance
from bemi_django.api.api_viewer import viewer_of
from bemi_django.api.problems import ApiProblem
from bemi_django.models import Change

register = template.Library()


@dataclass(frozen=True)
class LastChange:
    """When and by whom a field got its present value.

    Attributes:
        at: The moment; None if the worker has not written the change yet.
        actor: Who has set the value; empty if that is not known.
        change: The change.
    """

    at: datetime | None
    actor: str
    change: Change | None

    def __str__(self) -> str:
        if self.at is None:
            return _("just changed, not in the log yet")
        local = timezone.localtime(self.at) if timezone.is_aware(self.at) else self.at
        return comma_list(filter(None, (date_format(local, "DATETIME_FORMAT"), self.actor)))


@register.simple_tag(takes_context=True)
def audit_timeline(
    context: Mapping[str, Any], instance: Any, *, limit: int = 20, related: str = "", user: Any = None
) -> SafeString:
    """Show the latest changes of an object. Example: ``{% audit_timeline product limit=10 %}``.

    The template is ``bemi_django/<app>/<model>/timeline.html`` if there is one, or
    ``bemi_django/timeline.html``.

    Args:
        context: The context of the page.
        instance: The object.
        limit: The number of changes.
        related: ``"own"`` for its own changes only, ``"all"`` for those of all that refers to it; by default
            those of its parts are shown, too.
        user: Whose permissions apply; by default those of the user of the request.
    """

    def render() -> str:
        subject = _subject(context, instance, user)
        if subject is None:
            return ""
        return render_latest(
            subject, "audit_timeline", "bemi_django", "timeline.html", limit=limit, related=related
        )

    try:
        return or_unreadable(render)
    except ValueError as error:
        raise template.TemplateSyntaxError(f"audit_timeline: {error}") from None


@register.simple_tag(takes_context=True)
def last_changed(
    context: Mapping[str, Any], instance: Any, field: str, *, user: Any = None
) -> LastChange | str:
    """Say when a field got its present value, and by whom.

    Examples: ``{% last_changed product "price" %}``; with ``as last``, the parts are ``last.at``,
    ``last.actor`` and ``last.change``.

    Args:
        context: The context of the page.
        instance: The object.
        field: The name of the field.
        user: Whose permissions apply; by default those of the user of the request.

    Returns:
        An empty string if nothing is known, if the user may not see it, or if the log cannot be read.
    """
    try:
        return _last_change(context, instance, field, user) or ""
    except (OperationalError, InterfaceError):
        if unreached() is None:
            raise
        return ""


def _last_change(context: Mapping[str, Any], instance: Any, field: str, user: Any) -> LastChange | None:
    subject = _subject(context, instance, user)
    if subject is None:
        return None
    column = getattr(subject.model._meta.get_field(field), "column", None)
    setter = ObjectState(subject).setters().get(str(column))
    if setter is None or not (setter.change or setter.is_pending):
        return None
    change = setter.change
    if change is None:
        return LastChange(None, "", None)
    viewer = subject.viewer
    label = Actors([change], viewer).actor_of(change).label
    viewer.unmasked.note("last_changed")
    # The page may show any of it.
    seen = change if viewer.lifted else shown_change(change, viewer)
    return LastChange(change.committed_at, label, seen)


def _subject(context: Mapping[str, Any], instance: Any, user: Any) -> HistorySubject | None:
    """Return the object as a user sees it, or None if the user may not."""
    # A variable that the page does not have is an empty text.
    if not isinstance(instance, models.Model) or instance.pk is None:
        return None
    request = context.get("request")
    if request is None and user is None:
        return None
    request = HttpRequest() if request is None else copy.copy(request)
    # Parameters of the page are not those of the audit trail.
    request.GET = QueryDict()
    if user is not None:
        request.user = user
    try:
        viewer = viewer_of(request)
        subject = subject_of_instance(viewer, instance)
    except (ApiProblem, PermissionDenied):
        return None
    return subject if viewer.may("view", subject.model, instance) else None
