"""Attach the context of a FastAPI or Starlette request to its writes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from bemi_django.capture.api import hook_every_engine
from bemi_django.capture.context import provided_context
from bemi_django.capture.functions import is_async, values_of
from bemi_django.capture.proxies import TrustedProxies, client_address, is_trusted_peer
from bemi_django.capture.run_ids import HEADER, request_ids

logger = logging.getLogger(__name__)

Values = Mapping[str, Any]
ContextFunction = Callable[[Request], Values | Awaitable[Values]]


class BemiFastAPIMiddleware:
    """Attach the context of each HTTP request and websocket to its writes, as pure ASGI middleware.

    It hooks every SQLAlchemy engine of the process. A synchronous ``set_context`` is called at the first
    write, so it can see the user authenticated by the endpoint. An ``async`` one is awaited when the
    request begins, since a write cannot wait for it. For a websocket, both receive its opening request,
    with the method GET. The request's id is added to their values.
    Example: ``app.add_middleware(BemiFastAPIMiddleware, set_context=context_of)``.

    Args:
        app: The application.
        set_context: Function that returns the context of a request.
        trusted_proxies: Number of proxies in front of the site, or their networks. With it, the client's
            ``ip`` is recorded too.
        trust_request_id: Whether the ``X-Request-ID`` header of a trusted proxy is the request's id. Without
            it, the id is generated, and the header recorded as ``client_request_id``.

    Raises:
        TypeError: ``trusted_proxies`` has another type.
        ValueError: ``trusted_proxies`` cannot be parsed, or names none and ``trust_request_id`` is set.
    """

    def __init__(
        self,
        app: ASGIApp,
        set_context: ContextFunction,
        trusted_proxies: int | str | Iterable[str] | None = None,
        trust_request_id: bool = False,
    ) -> None:
        self.app = app
        self._set_context = set_context
        self._trusted = TrustedProxies.of(trusted_proxies)
        self._trusts_request_id = trust_request_id
        if trust_request_id and self._trusted in (None, TrustedProxies()):
            raise ValueError("trust_request_id needs trusted_proxies")
        hook_every_engine()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with the context of the request in force.

        Args:
            scope: The connection scope of ASGI.
            receive: Passed on to the application.
            send: Passed on to the application.
        """
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        provider = partial(self._context_of, scope)
        if is_async(self._set_context):
            provider = partial(dict, await self._awaited_context_of(scope))
        with provided_context(provider, **self._request_ids(scope)):
            await self.app(scope, receive, send)

    def _context_of(self, scope: Scope) -> Values:
        # Created now, since the application has put the user and the route into the scope by now.
        request = _request(scope)
        return {**self._address_of(request), **values_of(self._set_context(request))}

    async def _awaited_context_of(self, scope: Scope) -> Values:
        request = _request(scope)
        try:
            return {**self._address_of(request), **await cast(Awaitable[Values], self._set_context(request))}
        except Exception:
            logger.warning(
                "set_context failed; the writes of the request are recorded without its values", exc_info=True
            )
            return {}

    def _request_ids(self, scope: Scope) -> dict[str, str]:
        request = _request(scope)
        is_trusted = self._trusts_request_id and is_trusted_peer(_remote(request), self._trusted)
        return request_ids(request.headers.get(HEADER, ""), is_trusted=is_trusted)

    def _address_of(self, request: Request) -> dict[str, str]:
        if self._trusted is None:
            return {}
        forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
        address = client_address(_remote(request), forwarded, self._trusted)
        return {} if address is None else {"ip": address}


def _remote(request: Request) -> str:
    return request.client.host if request.client else ""


def _request(scope: Scope) -> Request:
    if scope["type"] == "http":
        return Request(scope)
    return Request({**scope, "type": "http", "method": "GET"})
