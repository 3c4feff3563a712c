"""Give every write of a request the request's context."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from bemi_django import conf
from bemi_django.context import provided_context

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,200}")


class BemiMiddleware:
    """WSGI and ASGI; the context function is asked at the first write, so a user set late counts."""

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
        with provided_context(partial(_context_of, request)):
            response: HttpResponseBase = self.get_response(request)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        with provided_context(partial(_context_of, request)):
            response: HttpResponseBase = await self.get_response(request)
        return response


def default_context(request: HttpRequest) -> dict[str, Any]:
    """What is recorded of a request without ``BEMI_CONTEXT_FUNCTION``."""
    return {
        "user_id": getattr(getattr(request, "user", None), "pk", None),
        "method": request.method,
        "path": request.path,
        "request_id": request_id(request),
    }


def request_id(request: HttpRequest) -> str:
    """The ``X-Request-ID`` that came with the request, else one that is made for it."""
    given = request.headers.get("X-Request-ID", "")
    chosen = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return str(request.__dict__.setdefault("_bemi_request_id", chosen))


def _context_of(request: HttpRequest) -> Mapping[str, Any]:
    function = conf.context_function() or default_context
    return function(request)
