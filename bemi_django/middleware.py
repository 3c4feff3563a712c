"""Attach the context of a request to its writes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed, SynchronousOnlyOperation
from django.db import connections
from django.http import HttpRequest, HttpResponseBase
from django.http.request import HttpHeaders
from django.utils.module_loading import import_string

from bemi_django import conf
from bemi_django.capture.context import provided_context
from bemi_django.capture.context_masks import masked
from bemi_django.capture.functions import guarded, is_async, values_of, waiter
from bemi_django.capture.layers import Provisional
from bemi_django.capture.proxies import TrustedProxies, client_address, is_trusted_peer
from bemi_django.capture.run_ids import HEADER, request_ids
from bemi_django.capture.streams import bind_async_iterator, bind_call, bind_iterator
from bemi_django.capture.warn_once import warn_once
from bemi_django.masking.contexts import MASK
from bemi_django.schema import tenancy

if TYPE_CHECKING:
    from bemi_django.site_past.time_travel_middleware import TimeTravelMiddleware as TimeTravelMiddleware

logger = logging.getLogger(__name__)

# Reading META is cheaper than request.headers, which is built from all of META.
_HEADER = HttpHeaders.to_wsgi_name(HEADER)


class BemiMiddleware:
    """Attach the context of each request to its writes, under WSGI and ASGI.

    The context function is called at the first write, so a user authenticated inside the view is recorded.
    The request's id, the schema of django-tenants' tenant and, with ``BEMI_TRUSTED_PROXIES``, the client's
    ``ip`` are added to its values.
    Streamed bodies have the context too, although they are produced after the middleware has returned.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        if not conf.captures():
            raise MiddlewareNotUsed
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
        with provided_context(partial(self._context_of, request), **_request_ids(request)):
            response: HttpResponseBase = self.get_response(request)
            _bind_stream(response)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        provider = partial(self._context_of, request)
        if self._is_function_async:
            provider = partial(dict, await self._awaited_context_of(request))
        with provided_context(provider, **_request_ids(request)):
            response: HttpResponseBase = await self.get_response(request)
            _bind_stream(response)
        return response

    def _context_of(self, request: HttpRequest) -> Mapping[str, Any]:
        added = self._added(request)
        if self._is_function_async:
            warn_once(
                "BEMI_CONTEXT_FUNCTION is async, but a sync request cannot await it; see manage.py check"
            )
            return {**added, **default_context(request)}
        try:
            return {**added, **values_of(self._function(request))}
        except SynchronousOnlyOperation:
            # Where the event loop runs, the function may not query databases; a thread may.
            if wait := waiter.get():
                found = wait(sync_to_async(guarded)(partial(self._function, request)))
                return {**added, **values_of(found)}
        warn_once(
            "BEMI_CONTEXT_FUNCTION queries the database, which a write in an async view cannot wait for; "
            "the write has the method, the path and the user, if known"
        )
        return Provisional({**added, **default_context(request)})

    async def _awaited_context_of(self, request: HttpRequest) -> Mapping[str, Any]:
        added = self._added(request)
        try:
            return {**added, **await cast(Awaitable[Mapping[str, Any]], self._function(request))}
        except Exception:
            logger.warning(
                "the context function failed; the request is recorded without its values", exc_info=True
            )
            return {**added, **default_context(request)}

    def _added(self, request: HttpRequest) -> dict[str, str]:
        added = _address(request, self._trusted)
        # The middleware of django-tenants sets it. Users of other tenants may have the same keys.
        tenant = getattr(request, "tenant", None) if self._has_tenants else None
        schema = getattr(tenant, "schema_name", None)
        return added if schema is None else {**added, "tenant": str(schema)}

    @cached_property
    def _has_tenants(self) -> bool:
        return any(tenancy.has_tenants(alias) for alias in connections)

    # Cached, because looking up a missing setting is slow.
    @cached_property
    def _function(self) -> conf.ContextFunction:
        return conf.context_function() or default_context

    @cached_property
    def _is_function_async(self) -> bool:
        try:
            return is_async(self._function)
        except Exception:
            # It cannot be imported. The first write logs that; requests are answered nevertheless.
            return False

    @cached_property
    def _trusted(self) -> TrustedProxies | None:
        return _trusted_proxies()


def __getattr__(name: str) -> Any:
    # It needs the models, which this module does not.
    if name == "TimeTravelMiddleware":
        return import_string("bemi_django.site_past.time_travel_middleware.TimeTravelMiddleware")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def default_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of a request if there is no ``BEMI_CONTEXT_FUNCTION``.

    Args:
        request: The request.

    Returns:
        ``user_id`` (None if nobody is logged in), ``method`` and ``path``.
    """
    return {"user_id": _user_id(request), "method": request.method, "path": _path(request)}


def _path(request: HttpRequest) -> str:
    """Return the path, without the parts that its pattern names as secrets, as for resetting a password."""
    path = request.path
    match = getattr(request, "resolver_match", None)
    for name, value in match.kwargs.items() if match else ():
        text = str(value)
        if text and masked(name, text) != text:
            path = path.replace(text, MASK)
    return path


def request_id(request: HttpRequest) -> str:
    """Return the id under which the writes of a request are recorded.

    Args:
        request: The request.

    Returns:
        An id generated for the request. With ``BEMI_TRUST_REQUEST_ID``, the ``X-Request-ID`` header of a
        trusted proxy.
    """
    return _request_ids(request)["request_id"]


def _request_ids(request: HttpRequest) -> dict[str, str]:
    attributes = request.__dict__
    if "_bemi_request_ids" not in attributes:
        header = request.META.get(_HEADER, "")
        is_trusted = bool(header) and conf.trust_request_id() and _is_from_proxy(request)
        attributes["_bemi_request_ids"] = request_ids(header, is_trusted=is_trusted)
    return cast("dict[str, str]", attributes["_bemi_request_ids"])


def _is_from_proxy(request: HttpRequest) -> bool:
    return is_trusted_peer(request.META.get("REMOTE_ADDR", ""), _trusted_proxies())


def _trusted_proxies() -> TrustedProxies | None:
    try:
        return TrustedProxies.of(conf.trusted_proxies())
    except (ImproperlyConfigured, TypeError, ValueError):
        warn_once("BEMI_TRUSTED_PROXIES is wrong, so no proxy is trusted; see manage.py check")
        return None


def _user_id(request: HttpRequest) -> Any:
    # django-ninja stores the authenticated user in ``auth``, where other packages store tokens.
    for attribute in ("user", "auth"):
        user = getattr(request, attribute, None)
        try:
            is_known = getattr(user, "is_authenticated", False)
        except SynchronousOnlyOperation:
            user = _user_in_event_loop(request)
            is_known = getattr(user, "is_authenticated", False)
        if is_known:
            return getattr(user, "pk", None)
    return None


def _user_in_event_loop(request: HttpRequest) -> Any:
    """Return the user whom auser() has found before, or finds now if the write can wait."""
    if "_acached_user" in request.__dict__:
        return request.__dict__["_acached_user"]
    wait, auser = waiter.get(), getattr(request, "auser", None)
    return wait(auser()) if wait and auser else None


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
        # A client that goes away ends the producer where it is.
        response.close = bind_call(response.close)
