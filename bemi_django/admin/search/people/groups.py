"""Groups of users: who may know them, who is in them, and the changes that their members have made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.db.models import Func, Q, Value
from django.db.models.functions import Cast
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.people.users import USER, by_user, key_forms

#: Members that are looked up one by one in the index of contexts, and members of a group at most.
_FEW, _MOST = 50, 5000


class GroupMembers:
    """The members of a group at present."""

    def __init__(self, keys: list[Any], viewer: Viewer) -> None:
        self._keys = keys
        self._viewer = viewer

    def condition(self) -> Q:
        """Return the condition of changes by one of them."""
        if len(self._keys) <= _FEW:
            forms = [form for key in self._keys for form in key_forms(key)]
            return by_user([{USER: form} for form in forms], self._viewer)
        return Q(_ByOneOf(self._keys)) & self._viewer.users.condition()

    @property
    def timeout(self) -> int:
        """The time limit for the index that finds their changes; see ``query_timeouts``."""
        return query_timeouts.FILTER if len(self._keys) <= _FEW else query_timeouts.NO_INDEX


class _ByOneOf(Func):
    """Whether a context names one of some users; never NULL."""

    template = "COALESCE(%(expressions)s), false)"
    arg_joiner = " OPERATOR(pg_catalog.=) ANY ("

    def __init__(self, keys: Iterable[Any]) -> None:
        key = Cast(Value(USER, output_field=models.TextField()), models.TextField())
        user = Func("context", key, function="pg_catalog.jsonb_object_field_text")
        super().__init__(user, Value([str(one) for one in keys]), output_field=models.BooleanField())


def members_of(name: str, viewer: Viewer) -> GroupMembers:
    """Return the members of a group.

    Raises:
        ValidationError: The viewer may not know them, there is no such group, or there are too many.
    """
    label = _label(viewer)
    if label is None:
        raise ValidationError(_("You may not search by group."))
    found = [] if "\0" in name else _seen(label, [name], viewer)
    if not found:
        raise ValidationError(_("There is no group “%(value)s”."), params={"value": name})
    users = get_user_model()._default_manager.filter(**{"groups__in": found})
    keys = list(users.order_by().distinct().values_list("pk", flat=True)[: _MOST + 1])
    if len(keys) > _MOST:
        raise ValidationError(_("The group “%(value)s” has too many members."), params={"value": name})
    return GroupMembers(keys, viewer)


def knows_groups(viewer: Viewer) -> bool:
    """Tell whether the viewer may know which users are in which groups."""
    return _label(viewer) is not None


def changes_by_group(changes: Mapping[str, int], viewer: Viewer) -> Counter[str]:
    """Return how many changes the members of each group have made; those without a group are under "".

    Args:
        changes: How many changes each user has made, by key (as text).
        viewer: Who asks. Who may not know the groups gets none.
    """
    totals: Counter[str] = Counter()
    label = _label(viewer)
    if label is None:
        return totals
    model: Any = get_user_model()
    known = model._default_manager.filter(pk__in=list(_keys(model, changes)))
    memberships = list(known.order_by().values_list("pk", f"groups__{label.name}"))
    names = {name for _key, name in memberships if name}
    seen = {getattr(group, label.name) for group in _seen(label, names, viewer)}
    for key, name in memberships:
        if not name or name in seen:
            totals[name or ""] += changes[str(key)]
    return totals


def _seen(label: Any, names: Collection[str], viewer: Viewer) -> list[models.Model]:
    """Return those of the groups with some names that the viewer may view."""
    if not names:
        return []
    try:
        asked = label.model._default_manager.filter(**{f"{label.name}__in": names})
    except Exception:
        # What a project calls their name may take no such text.
        return []
    found = list(asked)
    viewer.learn_rows(found)
    return [group for group in found if viewer.may("view", label.model, group)]


def _label(viewer: Viewer) -> Any:
    """Return the field with the names of groups, or None if the viewer may not know who is in them."""
    model: Any = get_user_model()
    try:
        field: Any = model._meta.get_field("groups")
        # A project may call something else its groups, such as a list of texts.
        label = field.related_model._meta.get_field("name") if field.related_model else None
    except FieldDoesNotExist:
        return None
    if label is None or _is_hidden(field, label, viewer):
        return None
    return label if viewer.may("view", model) and viewer.may("view", label.model) else None


def _is_hidden(field: Any, label: Any, viewer: Viewer) -> bool:
    """Tell whether the names of groups, or who is in them, are masked."""
    hidden = viewer.masks.hidden_fields
    # A foreign key to the only group of a user has no table between.
    between = getattr(field.remote_field, "through", None)
    is_hidden = bool(hidden(between)) if between else getattr(field, "column", None) in hidden(field.model)
    return is_hidden or label.column in hidden(label.model) or viewer.masks.hide_context_key(USER)


def _keys(model: Any, names: Mapping[str, int]) -> Iterator[Any]:
    for name in names:
        try:
            key = model._meta.pk.to_python(name)
        except Exception:
            # A context function can name anything as its user.
            continue
        if str(key) == name:
            yield key
