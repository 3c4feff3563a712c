"""Tell from a context who made a change and where in the application."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.break_points import breakable
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.models import Change
from bemi_django.wire import UNVERIFIED_KEY

_BETWEEN = re.compile("[._@]")
#: Keys that tell who and where.
_NAMES = (
    "user_id",
    "tenant",
    "method",
    "endpoint",
    "task",
    "command",
    "process",
    "db_user",
    "application_name",
)
#: Keys of what stands for whoever made a change, if nobody is named.
MACHINES = ("process", "task", "command")
#: The key of the database role that has made a change outside the application.
ROLE = "db_user"


class Actor(NamedTuple):
    """Who made a change.

    Attributes:
        label: A user name, "visitor", a database role, a task or a command; empty if nothing is known.
        url: The page of their activity, or None if nobody is named, or if that is masked.
        is_outside: Whether the change was made outside the application.
        is_person: Whether it is a user.
        is_visitor: Whether it is somebody who has sent a request without logging in.
        is_unverified: Whether no application has signed that it was so.
    """

    label: str
    url: str | None
    is_outside: bool = False
    is_person: bool = False
    is_visitor: bool = False
    is_unverified: bool = False

    @property
    def breakable(self) -> SafeString:
        """The label, which breaks between its words first."""
        return breakable(self.label)

    @property
    def face(self) -> str:
        """What stands for it in a picture: ``person``, ``visitor``, ``machine`` or ``outside``."""
        if self.is_outside:
            return "outside"
        if self.is_visitor:
            return "visitor"
        return "person" if self.is_person else "machine"

    @property
    def initials(self) -> str:
        """Two letters that stand for a name."""
        return "".join(word[0] for word in _BETWEEN.sub(" ", self.label).split()[:2]).upper()


class Actors:
    """The actors of some changes. Their users are fetched with one query."""

    def __init__(self, changes: Iterable[Change], viewer: Viewer) -> None:
        self._viewer = viewer
        self._is_hidden = viewer.masks.hide_context_key("user_id")
        ids = {
            str(change.context["user_id"])
            for change in changes
            if _has_user(change) and viewer.users.has_user_of(change.context.get("tenant"))
        }
        if self._is_hidden:
            ids = set()
        self._names = user_names(ids, viewer)

    def actor_of(self, *changes: Change) -> Actor:
        """Return who made some changes: the last of them, with a mark if one of them is unverified."""
        is_unverified = any(change.context.get(UNVERIFIED_KEY) is True for change in changes)
        known = self._known(changes[-1])
        return known._replace(label=in_order(known.label), is_unverified=is_unverified)

    def _known(self, change: Change) -> Actor:
        context = _visible(change, self._viewer)
        if _has_user(change):
            user_id = str(context["user_id"])
            if not self._viewer.users.has_user_of(change.context.get("tenant")):
                named = {"user": user_id, "tenant": context["tenant"]}
                return Actor(_("user %(user)s of %(tenant)s") % named, None, is_person=True)
            if self._is_hidden:
                return Actor(_("user %s") % user_id, None, is_person=True)
            name = self._names.get(user_id, _("user %s") % user_id)
            return Actor(name, user_url(self._viewer, user_id), is_person=True)
        if ROLE in context or not change.context:
            role = str(context.get(ROLE, ""))
            return Actor(role, self._activity(ROLE, role), is_outside=True)
        if key := _machine_key(context):
            machine = str(context[key])
            return Actor(machine, self._activity(key, machine))
        if context.get("endpoint"):
            return Actor(_("visitor"), None, is_visitor=True)
        return Actor("", None)

    def _activity(self, key: str, name: str) -> str | None:
        """Return the URL of the activity of whom a context names under a key."""
        is_shown = name and not self._viewer.masks.hide_context_key(key)
        return user_url(self._viewer, name) if is_shown else None


def where(change: Change, viewer: Viewer) -> str:
    """Return the endpoint, task, command or program that made a change, as the viewer may see it.

    It is empty for a task, command or process that already stands for who made it.
    """
    context = _visible(change, viewer)
    if context.get("endpoint"):
        return in_order(f"{context.get('method', '')} {context['endpoint']}".strip())
    has_person = _has_user(change) or ROLE in context
    names = (
        str(context[key]) for key in (*MACHINES[1:], MACHINES[0], "application_name") if context.get(key)
    )
    found = next(names, "")
    is_known = not has_person and found == str(context.get(_machine_key(context), ""))
    return "" if is_known else in_order(found)


def why(change: Change, viewer: Viewer) -> str:
    """Return the reason that the context gives for a change, as the viewer may see it."""
    reason = viewer.context(change).get("reason")
    return reason if isinstance(reason, str) else ""


def user_names(ids: Iterable[str], viewer: Viewer) -> dict[str, str]:
    """Return user names by primary key (as text). Unknown keys, and masked names, are left out."""
    if not viewer.may_see_user_names():
        return {}
    model: Any = get_user_model()
    keys = []
    for text in ids:
        if "\0" in text:
            continue
        try:
            keys.append(model._meta.pk.to_python(text))
        except ValidationError:
            continue
    users = model._default_manager.filter(pk__in=keys)
    for user in users:
        viewer.lifted.field(model, model._meta.get_field(model.USERNAME_FIELD).column, str(user.pk))
    return {str(user.pk): str(user.get_username()) for user in users}


def user_url(viewer: Viewer, user_id: Any) -> str:
    """Return the URL of the activity of a user, by key, or of a task, a command or a role, by name."""
    return f"{viewer.url('activity')}?{urlencode({'user': str(user_id)})}"


def _visible(change: Change, viewer: Viewer) -> dict[str, Any]:
    # The rest of a context may be long.
    found = {name: change.context[name] for name in _NAMES if name in change.context}
    return viewer.visible_context(found)


def _machine_key(context: dict[str, Any]) -> str:
    """Return the key of the process, task or command that a change is by if nobody else is named."""
    return next((key for key in MACHINES if context.get(key)), "")


def _has_user(change: Change) -> bool:
    return change.context.get("user_id") is not None
