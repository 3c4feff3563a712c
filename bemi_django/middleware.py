"""Attach the context of a request to its writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.http.request import HttpHeaders

from bemi_django import conf
from bemi_django.capture.context import provided_context
from bemi_django.capture.proxies import TrustedProxies, client_address
from bemi_django.capture.request_id import HEADER, request_id_from
from bemi_django.capture.streams import bind_async_iterator, bind_iterator

# Reading META is cheaper than request.headers, which is built from all of META.
_HEADER = HttpHeaders.to_wsgi_name(HEADER)


class BemiMiddleware:
    """Attach the context of each request to its writes, under WSGI and ASGI.

    The context function is called at the first write, so a user authenticated inside the view is recorded.
    The request's id and, with ``BEMI_TRUSTED_PROXIES``, the client's ``ip`` are added to its values.
    Streamed bodies have the context too, although they are produced after the middleware has returned.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Respond to a request with its context in force.

        Args:
            request: The request.

        Returns:
            The response, or an awaitable of it under ASGI.
        """
        if self._is_async:
            return self.__acall__(request)
        with provided_context(partial(self._context_of, request), request_id=request_id(request)):
            response: HttpResponseBase = self.get_response(request)
            _bind_stream(response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        with provided_context(partial(self._context_of, request), request_id=request_id(request)):
            response: HttpResponseBase = await self.get_response(request)
            _bind_stream(response)
        return response

    def _context_of(self, request: HttpRequest) -> Mapping[str, Any]:
        return {**_address(request, self._trusted), **self._function(request)}

    # Cached, because looking up a missing setting is slow.
    @cached_property
    def _function(self) -> conf.ContextFunction:
        return conf.context_function() or default_context

    @cached_property
    def _trusted(self) -> TrustedProxies | None:
        return TrustedProxies.of(conf.trusted_proxies())


def default_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of a request if there is no ``BEMI_CONTEXT_FUNCTION``.

    Args:
        request: The request.

    Returns:
        ``user_id`` (None if nobody is logged in), ``method`` and ``path``.
    """
    return {"user_id": _user_id(request), "method": request.method, "path": request.path}


def request_id(request: HttpRequest) -> str:
    """Return the id under which the writes of a request are recorded.

    Args:
        request: The request.

    Returns:
        The value of its ``X-Request-ID`` header, or an id generated for it.
    """
    attributes = request.__dict__
    if "_bemi_request_id" not in attributes:
        attributes["_bemi_request_id"] = request_id_from(request.META.get(_HEADER, ""))
    return str(attributes["_bemi_request_id"])


def _user_id(request: HttpRequest) -> Any:
    # django-ninja stores the authenticated user in ``auth``, where other packages store tokens.
    for attribute in ("user", "auth"):
        user = getattr(request, attribute, None)
        if getattr(user, "is_authenticated", False):
            return getattr(user, "pk", None)
    return None


def _address(request: HttpRequest, trusted: TrustedProxies | None) -> dict[str, str]:
    if trusted is None:
        return {}
    remote, forwarded = (request.META.get(key, "") for key in ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR"))
    address = client_address(remote, forwarded, trusted)
    return {} if address is None else {"ip": address}


def _bind_stream(response: Any) -> None:
    # The server may have a faster way to send a file.
    if getattr(response, "streaming", False) and getattr(response, "file_to_stream", None) is None:
        bind = bind_async_iterator if response.is_async else bind_iterator
        response.streaming_content = bind(response.streaming_content)
