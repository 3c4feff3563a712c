"""Give every write of a request the request's context."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.http.request import HttpHeaders

from bemi_django import conf
from bemi_django.capture.context import akeep, keep, provided_context
from bemi_django.capture.proxies import Trusted, client_address
from bemi_django.capture.request_id import HEADER, request_id_from

# Not request.headers, which are made of all of META.
_HEADER = HttpHeaders.to_wsgi_name(HEADER)


class BemiMiddleware:
    """WSGI and ASGI; the context function is asked at the first write, so a user set late counts.

    The request's id, and with ``BEMI_TRUSTED_PROXIES`` the client's ``ip``, are added to what it says.
    Streamed bodies, which are produced after the middleware has returned, have the context too.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self.__acall__(request)
        with provided_context(partial(self._context_of, request), request_id=request_id(request)):
            response: HttpResponseBase = self.get_response(request)
            _keep_streaming(response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        with provided_context(partial(self._context_of, request), request_id=request_id(request)):
            response: HttpResponseBase = await self.get_response(request)
            _keep_streaming(response)
        return response

    def _context_of(self, request: HttpRequest) -> Mapping[str, Any]:
        return {**_address(request, self._trusted), **self._function(request)}

    # A setting that is not there takes longer to look for than all else at a write of somebody unknown.
    @cached_property
    def _function(self) -> conf.ContextFunction:
        return conf.context_function() or default_context

    @cached_property
    def _trusted(self) -> Trusted | None:
        return Trusted.of(conf.trusted_proxies())


def default_context(request: HttpRequest) -> dict[str, Any]:
    """What is recorded of a request without ``BEMI_CONTEXT_FUNCTION``, beside its id."""
    return {"user_id": _user_id(request), "method": request.method, "path": request.path}


def request_id(request: HttpRequest) -> str:
    """The ``X-Request-ID`` that came with the request, else one that is made for it."""
    attributes = request.__dict__
    if "_bemi_request_id" not in attributes:
        attributes["_bemi_request_id"] = request_id_from(request.META.get(_HEADER, ""))
    return str(attributes["_bemi_request_id"])


def _user_id(request: HttpRequest) -> Any:
    # django-ninja leaves whom it has authenticated in ``auth``, where others leave tokens.
    for attribute in ("user", "auth"):
        user = getattr(request, attribute, None)
        if getattr(user, "is_authenticated", False):
            return getattr(user, "pk", None)
    return None


def _address(request: HttpRequest, trusted: Trusted | None) -> dict[str, str]:
    if trusted is None:
        return {}
    remote, forwarded = (request.META.get(key, "") for key in ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR"))
    address = client_address(remote, forwarded, trusted)
    return {} if address is None else {"ip": address}


def _keep_streaming(response: Any) -> None:
    # A file is left to the server, which may have a faster way to send it.
    if getattr(response, "streaming", False) and getattr(response, "file_to_stream", None) is None:
        kept = akeep if response.is_async else keep
        response.streaming_content = kept(response.streaming_content)
