"""Pages of the admin for a request of the past: they can be viewed, and offer nothing that writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.contrib.admin.sites import all_sites
from django.http import HttpRequest

#: The attribute of a request for which nothing can be changed: True once a permission was refused for that,
#: None while it is asked for.
_VIEW_ONLY = "_bemi_view_only"
#: Those of Django and of packages, such as ``has_import_permission()``, unless they have one of these words.
_PERMISSION = re.compile(r"has_(\w+)_permission")
_READING = frozenset(("module", "view"))
#: ``get_actions()``, and what packages have beside it, such as ``get_change_actions()``.
_ACTIONS = re.compile(r"get_(?:\w+_)?actions(?:_\w+)?")


def make_view_only(request: HttpRequest) -> None:
    """Let no page of any admin site offer to add, change or delete anything for a request.

    Who may change an object may view it. Permissions are asked of the ``ModelAdmin`` objects, whose classes
    may have methods of their own: so the objects are given methods that ask these first. They may ask each
    other, so all of them are asked as in the present. What other packages call permissions and actions is
    refused, too: nobody knows what it does.
    """
    setattr(request, _VIEW_ONLY, False)
    for site in list(all_sites):
        for model_admin in list(site._registry.values()):
            _guard(model_admin)


def was_refused(request: HttpRequest) -> bool:
    """Return whether the user may do what a page offers, though not in the past."""
    return bool(getattr(request, _VIEW_ONLY, False))


def _guard(model_admin: Any) -> None:
    if _VIEW_ONLY in vars(model_admin):
        return
    may_view, may_change = model_admin.has_view_permission, model_admin.has_change_permission

    @wraps(may_view)
    def has_view_permission(request: HttpRequest, *args: Any, **kwargs: Any) -> bool:
        if not _is_view_only(request):
            return bool(may_view(request, *args, **kwargs))
        with _as_in_present(request):
            return bool(may_view(request, *args, **kwargs) or may_change(request, *args, **kwargs))

    guards: dict[str, Callable[..., Any]] = {"has_view_permission": has_view_permission}
    for name in dir(type(model_admin)):
        asked = _PERMISSION.fullmatch(name)
        if asked and _READING.isdisjoint(asked[1].split("_")):
            guards[name] = _refused_in_past(getattr(model_admin, name))
        elif _ACTIONS.fullmatch(name):
            guards[name] = _empty_in_past(getattr(model_admin, name))
    vars(model_admin).update(guards, **{_VIEW_ONLY: True})


def _refused_in_past(check: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(check)
    def checked(*args: Any, **kwargs: Any) -> Any:
        request = _request_in(args, kwargs)
        if request is None or not _is_view_only(request):
            return check(*args, **kwargs)
        with _as_in_present(request):
            may = check(*args, **kwargs)
        if may:
            setattr(request, _VIEW_ONLY, True)
        return False

    return checked


def _empty_in_past(find: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(find)
    def found(*args: Any, **kwargs: Any) -> Any:
        request, actions = _request_in(args, kwargs), find(*args, **kwargs)
        is_hidden = request is not None and _is_view_only(request)
        return type(actions)() if is_hidden and isinstance(actions, dict | list | tuple) else actions

    return found


def _request_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest | None:
    """Return the request that a method was given. Packages may pass it by name, or after something else."""
    return next((given for given in (*args, *kwargs.values()) if isinstance(given, HttpRequest)), None)


@contextmanager
def _as_in_present(request: HttpRequest) -> Iterator[None]:
    mark = getattr(request, _VIEW_ONLY)
    setattr(request, _VIEW_ONLY, None)
    try:
        yield
    finally:
        setattr(request, _VIEW_ONLY, mark)


def _is_view_only(request: HttpRequest) -> bool:
    return getattr(request, _VIEW_ONLY, None) is not None
