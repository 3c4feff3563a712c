"""Actor and where, as a context tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext as _

from bemi_django.models import Change


class Actor(NamedTuple):
    """``url`` leads to what the user did, None for whom the application does not know."""

    label: str
    url: str | None
    is_outside: bool = False


class Actors:
    """The users that changes name, asked for at once."""

    def __init__(self, changes: Iterable[Change]) -> None:
        ids = {str(change.context["user_id"]) for change in changes if _has_user(change)}
        self._names = user_names(ids)

    def actor_of(self, change: Change) -> Actor:
        context = change.context
        if _has_user(change):
            user_id = str(context["user_id"])
            return Actor(self._names.get(user_id, _("user %s") % user_id), user_url(user_id))
        if "db_user" in context:
            return Actor(str(context["db_user"]), None, is_outside=True)
        for key in ("process", "task", "command"):
            if context.get(key):
                return Actor(str(context[key]), None)
        return Actor("", None)


def where(change: Change) -> str:
    """The endpoint, the task, the command or the program of a change."""
    context = change.context
    if context.get("endpoint"):
        return f"{context.get('method', '')} {context['endpoint']}".strip()
    for key in ("task", "command", "process", "application_name"):
        if context.get(key):
            return str(context[key])
    return ""


def user_names(ids: Iterable[str]) -> dict[str, str]:
    """User names by key; keys that no user has are left out."""
    model = get_user_model()
    keys = []
    for text in ids:
        try:
            keys.append(model._meta.pk.to_python(text))
        except ValidationError:
            continue
    users = model._default_manager.filter(pk__in=keys)
    return {str(user.pk): str(user.get_username()) for user in users}


def user_url(user_id: Any) -> str:
    """The page of what a user did."""
    return f"{reverse('admin:bemi_django_change_activity')}?{urlencode({'user': str(user_id)})}"


def _has_user(change: Change) -> bool:
    return change.context.get("user_id") is not None
