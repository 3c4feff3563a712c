"""The views of the API: all of them answer with JSON, also if something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from bemi_django.admin.access.chosen_log import UNREADABLE
from bemi_django.api.api_viewer import viewer_of
from bemi_django.api.openapi import description
from bemi_django.api.operations import OPERATIONS, Operation
from bemi_django.api.parameters import parsed
from bemi_django.api.problems import ApiProblem
from bemi_django.exceptions import is_away, sqlstate_of
from bemi_django.log.lossless_json import dumps
from bemi_django.site_past import of_the_present

View = Callable[..., HttpResponse]
_QUERY_CANCELED = "57014"


def view_of(operation: Operation) -> View:
    """Return the view of a question."""

    def answer(request: HttpRequest, **path: str) -> dict[str, Any]:
        viewer = viewer_of(request)
        found = operation.answer(viewer, parsed(operation.parameters, request.GET, path))
        viewer.unmasked.note(f"api.{operation.name}")
        return found

    return answered(answer)


def answered(answer: Callable[..., dict[str, Any]]) -> View:
    """Return a view that answers with what a function returns, or with what is wrong."""

    @never_cache
    def view(request: HttpRequest, **path: str) -> HttpResponse:
        try:
            if request.method not in ("GET", "HEAD"):
                raise ApiProblem(405, _("Only GET and HEAD are answered: the API writes nothing."))
            return json_response(answer(request, **path))
        except ApiProblem as problem:
            return problem_response(problem)
        except Http404:
            return problem_response(
                ApiProblem(404, _("There is no such thing, or you may not see it. Check the address."))
            )
        except PermissionDenied:
            return problem_response(
                ApiProblem(
                    403, _("You may not view this. Ask for the permissions that its admin page needs.")
                )
            )
        except (OperationalError, InterfaceError) as error:
            if (unanswered := unavailable(error)) is None:
                raise
            return problem_response(unanswered)

    # As the pages of the audit trail do, it shows the present while the site is shown as it was.
    return of_the_present(view)


def unavailable(error: Exception) -> ApiProblem | None:
    """Return the answer where the log takes too long or cannot be read; None for other errors.

    Args:
        error: What Django has raised.
    """
    if sqlstate_of(error) == _QUERY_CANCELED:
        return ApiProblem(503, _("The answer takes too long to find. Ask for less: a model, a user or days."))
    if is_away(error):
        return ApiProblem(503, str(UNREADABLE))
    return None


def _description(request: HttpRequest) -> dict[str, Any]:
    viewer_of(request)
    return description(reverse(f"{request.resolver_match.namespace}:changes").removesuffix("/changes/"))  # type: ignore[union-attr]


def _nothing(request: HttpRequest) -> dict[str, Any]:
    viewer_of(request)
    raise ApiProblem(404, _("There is no such address. Those that there are stand in openapi.json."))


views: dict[str, View] = {operation.name: view_of(operation) for operation in OPERATIONS}
openapi = answered(_description)
nothing = answered(_nothing)


def problem_response(problem: ApiProblem) -> HttpResponse:
    """Return the response that tells what is wrong."""
    error = {"status": problem.status, "message": problem.message, "parameters": problem.parameters}
    response = json_response({"error": error}, problem.status)
    if problem.status == 401:
        response["WWW-Authenticate"] = 'Session realm="audit"'
    if problem.status == 405:
        response["Allow"] = "GET, HEAD"
    return response


def json_response(content: dict[str, Any], status: int = 200) -> HttpResponse:
    """Return an answer as JSON, with all digits of its numbers."""
    # Half of a surrogate pair becomes the escape that JSON has for it.
    text = dumps(plain(content)).encode(errors="backslashreplace")
    response = HttpResponse(text, content_type="application/json", status=status)
    response["X-Content-Type-Options"] = "nosniff"
    return response


def plain(value: Any) -> Any:
    """Return an answer with moments and ids as texts."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
