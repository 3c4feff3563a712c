"""Record who views an object: a decorator of views, and a mixin of views that are classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from bemi_django.events.recording import VIEWED, try_to_emit

View = TypeVar("View", bound=Callable[..., Any])

_SAFE = ("GET", "HEAD")
_FIRST_ERROR = 400


def records_views(model: type[models.Model], argument: str = "pk") -> Callable[[View], View]:
    """Record who views an object, for a view that is a function.

    Requests that the view answers with an error are not recorded, nor those that may write.
    Example: ``@records_views(Patient)`` above ``def patient(request, pk): ...``.

    Args:
        model: The model of the object.
        argument: The argument of the view that is the primary key of the object.
    """

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def viewed_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                response = await view(request, *args, **kwargs)
                await sync_to_async(_record)(request, response, model, kwargs.get(argument))
                return response

            return viewed_async  # type: ignore[return-value]

        @wraps(view)
        def viewed(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            response = view(request, *args, **kwargs)
            _record(request, response, model, kwargs.get(argument))
            return response

        return viewed  # type: ignore[return-value]

    return decorate


class RecordsViews:
    """Record who views the object of a view that has ``get_object()``: Django's, and those of REST framework.

    Put it before the other bases: ``class PatientView(RecordsViews, DetailView)``.
    """

    def get_object(self, *args: Any, **kwargs: Any) -> Any:
        """Return the object of the view, and record that it is viewed."""
        found = super().get_object(*args, **kwargs)  # type: ignore[misc]
        request: Any = self.request  # type: ignore[attr-defined]
        if request.method in _SAFE and isinstance(found, models.Model):
            try_to_emit(VIEWED, found)
        return found


def _record(request: HttpRequest, response: Any, model: type[models.Model], key: Any) -> None:
    if request.method not in _SAFE or response.status_code >= _FIRST_ERROR or key is None:
        return
    try:
        viewed = model(pk=model._meta.pk.to_python(key))
    except ValidationError:
        return
    try_to_emit(VIEWED, viewed)
