"""Views that show the present, and may write, also to a user who has gone to an earlier moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest
from django.urls import Resolver404, resolve

View = TypeVar("View", bound=Callable[..., Any])

_MARK = "bemi_of_the_present"
#: The names that Django gives to the URLs by which one logs in and out.
_SIGN_ON = frozenset(("login", "logout"))


def of_the_present(view: View) -> View:
    """Mark a view, which then shows the present also while the site is shown as it was.

    Example: ``path("logout/", of_the_present(views.logout))``. A view that is a class is marked when it has
    become a function: ``of_the_present(HealthView.as_view())``.
    """
    setattr(view, _MARK, True)
    return view


def shows_present(request: HttpRequest) -> bool:
    """Return whether the view of a request is one of these, or one by which one logs in or out."""
    try:
        match = resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return False
    return getattr(match.func, _MARK, False) is True or match.url_name in _SIGN_ON
