"""The history of objects in viewsets of Django REST framework: ``GET /products/42/history/``."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from inspect import isawaitable
from typing import Any

from asgiref.sync import async_to_sync
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse, QueryDict
from django.utils.cache import add_never_cache_headers
from rest_framework.decorators import action

from bemi_django.admin.access.audit_site import audit_site
from bemi_django.admin.pages.history.subject import subject_of_instance
from bemi_django.api.api_viewer import ApiViewer
from bemi_django.api.object_answers import history_of
from bemi_django.api.operations import TIMELINE
from bemi_django.api.parameters import parsed
from bemi_django.api.problems import ApiProblem
from bemi_django.api.views import json_response, problem_response, unavailable


class NoUser:
    """Nobody: a user without permissions, also where ``django.contrib.auth`` is not installed."""

    pk = id = None
    username = ""
    is_anonymous = True
    is_active = is_authenticated = is_staff = is_superuser = False

    def __str__(self) -> str:
        return "AnonymousUser"

    def get_username(self) -> str:
        """Return an empty name."""
        return self.username

    def has_perm(self, permission: str, obj: object = None) -> bool:
        """Return False."""
        return False

    def has_perms(self, permissions: Collection[str], obj: object = None) -> bool:
        """Return False, unless nothing is asked for."""
        return not permissions

    def has_module_perms(self, app_label: str) -> bool:
        """Return False."""
        return False


class HistoryMixin:
    """Add ``history/`` to the objects of a viewset.

    An object has a history for whom ``get_object()`` gives it, or ``aget_object()`` of an async viewset: the
    queryset and the permissions of the viewset decide, beside ``history_permission``. Values of masked fields
    are hidden.

    Example::

        class ProductViewSet(HistoryMixin, ModelViewSet):
            queryset = Product.objects.all()
    """

    #: The permission that the user must have beside those of the viewset, or None.
    history_permission: str | None = "bemi_django.view_change"

    @action(detail=True, methods=["get"], url_path="history", url_name="history")
    def history(self: Any, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return a page of the changes of an object and of its parts, the newest first."""
        plain_request = copy(request._request)
        # A viewset may authenticate only now, and a session may be of somebody else.
        user = request.user
        # UNAUTHENTICATED_USER of the framework, or the user of a token without permissions.
        plain_request.user = user if hasattr(user, "has_perm") else NoUser()
        permission = self.history_permission
        if permission is not None and not plain_request.user.has_perm(permission):
            self.permission_denied(request, message=f"This takes the permission {permission}.")
        own, others = _divided(request.query_params)
        # A filter of the viewset may have the name of a parameter of the history, and would hide the object.
        request._request.GET = others
        try:
            instance = _object_of(self)
        finally:
            request._request.GET = plain_request.GET
        viewer = ApiViewer(plain_request, audit_site())
        try:
            given = parsed(TIMELINE, own, {})
            found = history_of(subject_of_instance(viewer, instance), viewer, given)
        except ApiProblem as problem:
            return problem_response(problem)
        except (OperationalError, InterfaceError) as error:
            if (unanswered := unavailable(error)) is None:
                raise
            return problem_response(unanswered)
        viewer.unmasked.note("rest_framework.history")
        # The renderers of the framework would round numbers.
        response = json_response(found)
        add_never_cache_headers(response)
        return response


def _object_of(view: Any) -> Any:
    """Return the object by the method that is nearest to the class of the viewset: that one has its rules."""
    names = ("aget_object", "get_object")
    name = next(name for cls in type(view).__mro__ for name in names if name in vars(cls))
    found = getattr(view, name)()
    return async_to_sync(_awaited)(found) if isawaitable(found) else found


async def _awaited(found: Any) -> Any:
    return await found


def _divided(given: QueryDict) -> tuple[QueryDict, QueryDict]:
    """Return the parameters of the history, and those of the viewset, which go with the links, too."""
    names = {parameter.name for parameter in TIMELINE}
    own, others = QueryDict(mutable=True), QueryDict(mutable=True)
    for name, values in given.lists():
        (own if name in names else others).setlist(name, values)
    return own, others
