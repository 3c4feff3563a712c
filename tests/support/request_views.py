"""Views that write in every way; the request names the row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import path

from bemi_django import bound_context, set_context
from sample_project.todos.models import Todo


def context_of(request: HttpRequest) -> Mapping[str, Any]:
    return {"case": request.GET["case"]}


def write(request: HttpRequest) -> None:
    Todo.objects.create(task=request.GET["case"])


async def awrite(request: HttpRequest) -> None:
    await asyncio.sleep(0)
    await Todo.objects.acreate(task=request.GET["case"])


def sync_view(request: HttpRequest) -> HttpResponse:
    write(request)
    return HttpResponse()


async def async_view(request: HttpRequest) -> HttpResponse:
    await awrite(request)
    return HttpResponse()


def nested_from_sync(request: HttpRequest) -> HttpResponse:
    async def inner() -> None:
        await sync_to_async(write)(request)

    async_to_sync(inner)()
    return HttpResponse()


async def nested_from_async(request: HttpRequest) -> HttpResponse:
    def inner() -> None:
        async_to_sync(awrite)(request)

    await sync_to_async(inner)()
    return HttpResponse()


async def tasks(request: HttpRequest) -> HttpResponse:
    await asyncio.gather(awrite(request), awrite(request))
    return HttpResponse()


def sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        write(request)
        with bound_context(step=2):
            yield "a"
            write(request)
        yield "b"

    return StreamingHttpResponse(body())


def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        await awrite(request)
        with bound_context(step=2):
            yield "a"
            await awrite(request)
        yield "b"

    return StreamingHttpResponse(body())


def replaced(request: HttpRequest) -> HttpResponse:
    set_context({"replaced": True, "case": request.GET["case"]})
    write(request)
    return HttpResponse()


VIEWS: list[Callable[..., Any]] = [
    sync_view,
    async_view,
    nested_from_sync,
    nested_from_async,
    tasks,
    sync_stream,
    async_stream,
    replaced,
]
urlpatterns = [path(f"{view.__name__}/", view) for view in VIEWS]


def sync_middleware(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        return get_response(request)

    return middleware


class SyncMiddleware:
    """Synchronous only."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response


class AsyncMiddleware:
    """Asynchronous only."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        assert iscoroutinefunction(get_response)
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        return response
