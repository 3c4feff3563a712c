"""The JSON endpoint, for a session and a CSRF token in the header ``X-CSRFToken``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods

from sample_project.todos.forms import TodoForm
from sample_project.todos.models import Todo

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


class BadRequestError(Exception):
    """The body of the request is invalid."""


def json_endpoint(view: View[P]) -> View[P]:
    """Answer 401, 404 and 400 as JSON, where a page would redirect or render HTML."""

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"error": "log in first"}, status=401)
        try:
            return view(request, *args, **kwargs)
        except Http404:
            return JsonResponse({"error": "no such todo"}, status=404)
        except BadRequestError as error:
            return JsonResponse({"error": str(error)}, status=400)

    return wrapper


@require_http_methods(["GET", "POST"])
@json_endpoint
def todos(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        owned = Todo.objects.filter(owner_id=request.user.pk)
        return JsonResponse({"todos": [_as_dict(todo) for todo in owned]})
    task = _body(request).get("task")
    form = TodoForm({"task": task if isinstance(task, str) else ""})
    if not form.is_valid():
        raise BadRequestError(f"task: {form.errors['task'][0]}")
    todo = form.save(commit=False)
    todo.owner_id = request.user.pk
    todo.save()
    return JsonResponse(_as_dict(todo), status=201)


@require_http_methods(["PUT", "DELETE"])
@json_endpoint
def todo(request: HttpRequest, pk: int) -> HttpResponse:
    found = Todo.objects.filter(owner_id=request.user.pk, pk=pk).first()
    if found is None:
        raise Http404
    if request.method == "DELETE":
        found.delete()
        return HttpResponse(status=204)
    is_completed = _body(request).get("is_completed")
    if not isinstance(is_completed, bool):
        raise BadRequestError("is_completed: true or false")
    found.is_completed = is_completed
    found.save(update_fields=["is_completed"])
    return JsonResponse(_as_dict(found))


def _body(request: HttpRequest) -> dict[str, object]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise BadRequestError("the body is not a JSON object")
    return body


def _as_dict(todo: Todo) -> dict[str, object]:
    return {
        "id": todo.pk,
        "task": todo.task,
        "is_completed": todo.is_completed,
        "created_at": todo.created_at,
    }
