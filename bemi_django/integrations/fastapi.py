"""Give every write of a FastAPI or Starlette request the request's context."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from bemi_django.capture.api import hook_every_engine
from bemi_django.capture.context import provided_context
from bemi_django.capture.proxies import Trusted, client_address
from bemi_django.capture.request_id import HEADER, request_id_from

logger = logging.getLogger(__name__)

Context = Mapping[str, Any]
SetContext = Callable[[Request], Context | Awaitable[Context]]


class BemiFastAPIMiddleware:
    """Pure ASGI, for HTTP and websockets; every SQLAlchemy engine of the process is hooked.

    ``app.add_middleware(BemiFastAPIMiddleware, set_context=lambda request: {"path": request.url.path})``.
    A plain ``set_context`` is asked at the first write, so that it finds the user whom the endpoint has
    authenticated. A write cannot wait for an ``async`` one: that is awaited when the request begins.
    The opening request of a websocket is a ``Request`` as any other, with the method GET.

    The request's id is added, and with ``trusted_proxies`` (how many there are, or their networks) the
    client's ``ip``, unless ``set_context`` says otherwise.
    """

    def __init__(
        self,
        app: ASGIApp,
        set_context: SetContext,
        trusted_proxies: int | str | Iterable[str] | None = None,
    ) -> None:
        self.app = app
        self._set_context = set_context
        self._trusted = Trusted.of(trusted_proxies)
        hook_every_engine()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        provider = partial(self._context_of, scope)
        if _is_async(self._set_context):
            provider = partial(dict, await self._awaited_context_of(scope))
        with provided_context(provider, request_id=request_id_from(_request(scope).headers.get(HEADER, ""))):
            await self.app(scope, receive, send)

    def _context_of(self, scope: Scope) -> Context:
        # Made now: by now the application has put the user and the route into the scope.
        request = _request(scope)
        found = self._set_context(request)
        if inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()
            raise TypeError("a set_context that is awaited must be declared so: async def")
        return {**self._address_of(request), **found}

    async def _awaited_context_of(self, scope: Scope) -> Context:
        request = _request(scope)
        try:
            return {**self._address_of(request), **await cast(Awaitable[Context], self._set_context(request))}
        except Exception:
            logger.warning("set_context failed; the request has no context from it", exc_info=True)
            return {}

    def _address_of(self, request: Request) -> dict[str, str]:
        if self._trusted is None:
            return {}
        remote = request.client.host if request.client else ""
        forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
        address = client_address(remote, forwarded, self._trusted)
        return {} if address is None else {"ip": address}


def _request(scope: Scope) -> Request:
    if scope["type"] == "http":
        return Request(scope)
    return Request({**scope, "type": "http", "method": "GET"})


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object may have an async one
    )
