"""Pages of the admin for a request of the past: they can be viewed, and offer nothing that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.contrib.admin.sites import all_sites
from django.http import HttpRequest

#: The attribute of a request for which nothing can be changed: True once a permission was refused for that,
#: None while it is asked for.
_VIEW_ONLY = "_bemi_view_only"
_CHANGING = ("has_add_permission", "has_change_permission", "has_delete_permission")


def make_view_only(request: HttpRequest) -> None:
    """Let no page of any admin site offer to add, change or delete anything for a request.

    Who may change an object may view it. Permissions are asked of the ``ModelAdmin`` objects, whose classes
    may have methods of their own: so the objects are given methods that ask these first. They may ask each
    other, so all of them are asked as in the present.
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
    actions_of = model_admin.get_actions

    @wraps(may_view)
    def has_view_permission(request: HttpRequest, *args: Any, **kwargs: Any) -> bool:
        if not _is_view_only(request):
            return bool(may_view(request, *args, **kwargs))
        with _as_in_present(request):
            return bool(may_view(request, *args, **kwargs) or may_change(request, *args, **kwargs))

    @wraps(actions_of)
    def get_actions(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return {} if _is_view_only(request) else actions_of(request, *args, **kwargs)

    guards = {name: _refused_in_past(getattr(model_admin, name)) for name in _CHANGING}
    vars(model_admin).update(
        guards, has_view_permission=has_view_permission, get_actions=get_actions, **{_VIEW_ONLY: True}
    )


def _refused_in_past(check: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(check)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not _is_view_only(request):
            return check(request, *args, **kwargs)
        with _as_in_present(request):
            may = check(request, *args, **kwargs)
        if may:
            setattr(request, _VIEW_ONLY, True)
        return False

    return checked


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
