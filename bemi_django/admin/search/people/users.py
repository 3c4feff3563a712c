"""Find the users, or the tasks, commands and database roles, that a text may mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import MACHINES, ROLE
from bemi_django.admin.search import query_timeouts, search_terms
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only

#: A key of a context and its value.
ContextPart = dict[str, Any]
#: The key of the user who made a change.
USER = "user_id"


def context_parts(text: str, viewer: Viewer) -> list[ContextPart]:
    """Return what contexts may have for whoever made a change, as users first.

    Args:
        text: The name of a task, a command, a process or a database role; or what ``user_ids()`` takes.
        viewer: The user who searches.
    """
    if "\0" in text:
        return []
    machines: list[ContextPart] = [{key: text} for key in (*MACHINES, ROLE)]
    return [*({USER: value} for value in user_ids(text, viewer)), *machines]


def user_ids(text: str, viewer: Viewer) -> list[Any]:
    """Return the values that ``user_id`` of a context may have for a user.

    Args:
        text: The primary key, the name or the e-mail address of the user. A name that no user has exactly may
            be in any case.
        viewer: The user who searches, who may not see user names.
    """
    found = search_terms.literals(text)
    for key in _named(text, viewer):
        found += key_forms(key)
    return found


def key_forms(key: Any) -> list[Any]:
    """Return the values that a context may have for the primary key of a user."""
    return [key, str(key)] if isinstance(key, int) else [str(key)]


def searchable_parts(text: str, viewer: Viewer) -> list[ContextPart]:
    """Return ``context_parts()`` for a filter.

    Raises:
        ValidationError: If the viewer may not search for users.
    """
    found = context_parts(text, viewer)
    for part in found:
        refuse(viewer.masks.hidden_in_context(part) if USER in part else [])
    return found


def refuse(hidden: Sequence[str]) -> None:
    """Refuse a search that compares masked values.

    Raises:
        ValidationError: If there are any; it names the first.
    """
    if hidden:
        raise ValidationError(_("You may not search the values of %(column)s."), params={"column": hidden[0]})


def is_user(text: str, parts: list[ContextPart], viewer: Viewer) -> bool:
    """Tell whether a text means a user, or whoever made a change: a deleted user, a task, a command, a role.

    Args:
        text: The text.
        parts: What ``context_parts()`` has returned for it.
        viewer: The user who searches.
    """
    users = [part for part in parts if USER in part]
    is_named = len(users) > len(search_terms.literals(text))
    if _knows_users(viewer) and (is_named or _has_key(text)):
        return True
    # A context function can name anything as its user.
    try:
        with bitmap_scan_only(query_timeouts.LOOKUP):
            return bool(viewer.changes().filter(by_user(parts, viewer)).order_by()[:1])
    except TimedOut:
        return True


def by_user(parts: list[ContextPart], viewer: Viewer) -> Q:
    """Return the condition of changes whose context has one of some parts.

    Args:
        parts: What ``context_parts()`` has returned.
        viewer: The user who searches, among the users of the same tenant.
    """
    # Without any value, no change matches.
    condition = Q(pk__in=[])
    for part in parts:
        # A masked value must not be found by trying.
        if not viewer.masks.hidden_in_context(part):
            condition |= Q(context__contains=part)
    return condition & viewer.users.condition()


def _named(text: str, viewer: Viewer) -> list[Any]:
    model: Any = get_user_model()
    if not viewer.may_see_user_names():
        return []
    users = model._default_manager.values_list("pk", flat=True)
    exact = list(_matching(users, model.USERNAME_FIELD, text))
    if exact:
        return exact
    found = list(_matching(users, f"{model.USERNAME_FIELD}__iexact", text))
    email = _email_field(model)
    is_hidden = email is not None and email.column in viewer.masks.hidden_fields(model)
    if email is not None and not is_hidden and _knows_users(viewer):
        found += [key for key in _matching(users, f"{email.name}__iexact", text) if key not in found]
    return found


def _matching(users: QuerySet[Any], lookup: str, text: str) -> QuerySet[Any]:
    """Return the users that a lookup finds: none if the field, which may be the project's, refuses it."""
    try:
        return users.filter(**{lookup: text})
    except Exception:
        return users.none()


def _knows_users(viewer: Viewer) -> bool:
    """Tell whether the viewer may know which users there are, beside those whose changes the viewer sees."""
    return viewer.may("view", get_user_model()) or not viewer.is_scoped


def _email_field(model: Any) -> Any:
    name = getattr(model, "EMAIL_FIELD", "")
    return next((field for field in model._meta.concrete_fields if field.name == name), None)


def is_key(text: str) -> bool:
    """Tell whether a text can be the primary key of a user."""
    try:
        get_user_model()._meta.pk.to_python(text)
    except Exception:
        # The field may be one of the project.
        return False
    return "\0" not in text


def _has_key(text: str) -> bool:
    """Tell whether a user has a text as the primary key."""
    model: Any = get_user_model()
    return is_key(text) and bool(model._default_manager.filter(pk=model._meta.pk.to_python(text)).exists())
