"""Record who views an object: a decorator of views, and a mixin of views that are classes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import Parameter, isawaitable, signature
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from bemi_django.capture.warn_once import warn_once
from bemi_django.events.emission import VIEWED
from bemi_django.events.recording import try_to_emit

View = TypeVar("View", bound=Callable[..., Any])

_SAFE = ("GET", "HEAD")
_FIRST_REDIRECT = 300
_NOT_MODIFIED = 304
#: The attribute of a view with the objects that it has found.
_FOUND = "_bemi_found"


def records_views(model: type[models.Model], argument: str = "pk") -> Callable[[View], View]:
    """Record who views an object, for a view that is a function.

    Requests that the view answers with an error or a redirect are not recorded, nor those that may write.
    Example: ``@records_views(Patient)`` above ``def patient(request, pk): ...``.

    Args:
        model: The model of the object.
        argument: The argument of the view that is the primary key of the object, or the object. A decorator
            above this one may have made it from what the URL has.
    """

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def viewed_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                response = await view(request, *args, **kwargs)
                key = _argument(view, argument, request, args, kwargs)
                await sync_to_async(_record)(request, response, model, key)
                return response

            return viewed_async  # type: ignore[return-value]

        @wraps(view)
        def viewed(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            response = view(request, *args, **kwargs)
            _record(request, response, model, _argument(view, argument, request, args, kwargs))
            return response

        return viewed  # type: ignore[return-value]

    return decorate


class RecordsViews:
    """Record who views the object of a view that has ``get_object()``: Django's, and those of REST framework.

    An object is recorded once, when ``dispatch()`` has answered and shows it: not if the view refuses the
    request after it has found the object.
    Put it before the other bases: ``class PatientView(RecordsViews, DetailView)``.
    """

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer the request, and record which objects were viewed by it."""
        response = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        if isawaitable(response):
            return self._dispatched(request, response)
        self._record_found(request, response)
        return response

    def get_object(self, *args: Any, **kwargs: Any) -> Any:
        """Return the object of the view."""
        found = super().get_object(*args, **kwargs)  # type: ignore[misc]
        return self._awaited(found) if isawaitable(found) else self._remember(found)

    async def _dispatched(self, request: Any, response: Awaitable[Any]) -> Any:
        answer = await response
        await sync_to_async(self._record_found)(request, answer)
        return answer

    async def _awaited(self, found: Awaitable[Any]) -> Any:
        return self._remember(await found)

    def _remember(self, found: Any) -> Any:
        if isinstance(found, models.Model):
            # A view may ask for its object several times, and before it is dispatched.
            self.__dict__.setdefault(_FOUND, {})[found._meta.concrete_model, found.pk] = found
        return found

    def _record_found(self, request: Any, response: Any) -> None:
        objects = self.__dict__.pop(_FOUND, {})
        if _is_shown(request, response):
            for found in objects.values():
                try_to_emit(VIEWED, found)


def _argument(view: Callable[..., Any], name: str, request: HttpRequest, args: Any, kwargs: Any) -> Any:
    """Return the argument of a view, given by its name or by its place; None if it has no such argument."""
    if name in kwargs:
        return kwargs[name]
    layer: Any = view
    while layer is not None:
        try:
            own = signature(layer, follow_wrapped=False)
            given = own.bind(request, *args, **kwargs)
        except (TypeError, ValueError):
            break
        if name in own.parameters:
            given.apply_defaults()
            return given.arguments[name]
        # A decorator below that takes any arguments passes them on as they are; another one has its own.
        takes_any = any(each.kind is Parameter.VAR_POSITIONAL for each in own.parameters.values())
        layer = getattr(layer, "__wrapped__", None) if takes_any else None
    warn_once(
        f"views are not recorded: {getattr(view, '__qualname__', view)} was called without the argument "
        f"{name!r}. Name the one that has the key in @records_views(model, argument)"
    )
    return None


def _record(request: HttpRequest, response: Any, model: type[models.Model], key: Any) -> None:
    if not _is_shown(request, response) or key is None:
        return
    if not isinstance(key, models.Model):
        try:
            key = model(pk=model._meta.pk.to_python(key))
        except ValidationError:
            return
    try_to_emit(VIEWED, key)


def _is_shown(request: Any, response: Any) -> bool:
    """Return whether a request has read what it asked for; a redirect leads elsewhere."""
    status = response.status_code
    return request.method in _SAFE and (status < _FIRST_REDIRECT or status == _NOT_MODIFIED)
