"""The history of objects in viewsets of Django REST framework: ``GET /products/42/history/``."""

from __future__ import annotations

from copy import copy
from typing import Any

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


class HistoryMixin:
    """Add ``history/`` to the objects of a viewset.

    An object has a history for whom ``get_object()`` gives it: the queryset and the permissions of the
    viewset decide, beside ``history_permission``. Values of masked fields are hidden.

    Example::

        class ProductViewSet(HistoryMixin, ModelViewSet):
            queryset = Product.objects.all()
    """

    #: The permission that the user must have beside those of the viewset, or None.
    history_permission: str | None = "bemi_django.view_change"

    @action(detail=True, methods=["get"], url_path="history", url_name="history")
    def history(self: Any, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return a page of the changes of an object and of its parts, the newest first."""
        if self.history_permission is not None and not request.user.has_perm(self.history_permission):
            self.permission_denied(request, message=f"This takes the permission {self.history_permission}.")
        instance = self.get_object()
        # The request of Django has the user whom the viewset has authenticated. Parameters that the history
        # does not know are the viewset's.
        plain_request = copy(request._request)
        plain_request.GET = _known(request.query_params)
        viewer = ApiViewer(plain_request, audit_site())
        try:
            given = parsed(TIMELINE, plain_request.GET, {})
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


def _known(given: QueryDict) -> QueryDict:
    found = QueryDict(mutable=True)
    for parameter in TIMELINE:
        if parameter.name in given:
            found.setlist(parameter.name, given.getlist(parameter.name))
    return found
