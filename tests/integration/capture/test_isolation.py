"""Requests at once, in threads and in tasks, through the real handlers: none sees another's context."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, RequestFactory
from django.urls import path

from bemi_django import set_context
from bemi_django.models import Change
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.polling import DEADLINE

OURS = "bemi_django.middleware.BemiMiddleware"
SYNC_ONLY = "tests.integration.capture.test_isolation.sync_only"
STACKS = {"alone": [OURS], "inside_sync": [SYNC_ONLY, OURS], "outside_sync": [OURS, SYNC_ONLY]}

Context = dict[str, Any]


class Meeting:
    """Holds each request between two writes until all are there, whichever way they wait."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)
        self._missing = parties
        self._complete = asyncio.Event()

    def wait(self) -> None:
        self._barrier.wait(DEADLINE)

    async def await_all(self) -> None:
        # asyncio.Barrier is of Python 3.11.
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await asyncio.wait_for(self._complete.wait(), DEADLINE)


meeting = Meeting(1)


def sync_view(request: HttpRequest, name: str) -> HttpResponse:
    Category.objects.create(name=f"{name} before")
    meeting.wait()
    Category.objects.create(name=f"{name} after")
    return HttpResponse()


async def async_view(request: HttpRequest, name: str) -> HttpResponse:
    await Category.objects.acreate(name=f"{name} before")
    await meeting.await_all()
    await Category.objects.acreate(name=f"{name} after")
    return HttpResponse()


def sync_replacing_view(request: HttpRequest, name: str) -> HttpResponse:
    set_context({"replaced": name})
    return sync_view(request, name)


async def async_replacing_view(request: HttpRequest, name: str) -> HttpResponse:
    set_context({"replaced": name})
    return await async_view(request, name)


def sync_only(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that makes Django change threads around it."""
    return lambda request: get_response(request)


def context_of(request: HttpRequest) -> Context:
    # A key of its own: the next context would not cover it up.
    return {"path": request.path, request.path: True}


urlpatterns = [
    path("sync/<name>/", sync_view),
    path("async/<name>/", async_view),
    path("sync_replacing/<name>/", sync_replacing_view),
    path("async_replacing/<name>/", async_replacing_view),
]


@pytest.fixture(params=list(STACKS.values()), ids=list(STACKS))
def stack(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.MIDDLEWARE = request.param


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [OURS]
    settings.BEMI_CONTEXT_FUNCTION = f"{__name__}.context_of"


@pytest.fixture
def meet(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda parties: monkeypatch.setitem(globals(), "meeting", Meeting(parties))


def wsgi(url: str) -> None:
    """One request, as a WSGI server makes it."""
    statuses: list[str] = []
    handler: Any = WSGIHandler()
    response = handler(RequestFactory().post(url).environ, lambda status, headers: statuses.append(status))
    # Closes the database connection of the thread.
    response.close()
    assert statuses == ["200 OK"]


async def asgi(url: str) -> None:
    """One request, as an ASGI server makes it: its sync code has a thread of its own."""
    scope = AsyncRequestFactory()._base_scope(method="POST", path=url)  # type: ignore[attr-defined]
    communicate: Any = ApplicationCommunicator
    communicator = communicate(ASGIHandler(), scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    started = await communicator.receive_output(DEADLINE)
    await communicator.receive_output(DEADLINE)
    await communicator.wait(DEADLINE)
    assert started["status"] == 200


async def together(requests: Sequence[Any]) -> None:
    await asyncio.gather(*requests)


def contexts(changes: Sequence[Change]) -> dict[str, Context]:
    found = {}
    for change in changes:
        assert change.context.pop("SQL")
        change.context.pop("request_id", None)
        found[change.after["name"]] = change.context
    return found


def own(*urls: str) -> dict[str, Context]:
    """The context that the two writes of each request must have."""
    when = ("before", "after")
    return {f"{url.split('/')[2]} {word}": {"path": url, url: True} for url in urls for word in when}


def no_context() -> Context:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name')")
        (application,) = cursor.fetchone()
    return {"application_name": application}


def test_requests_at_once_in_threads_keep_their_own_context(
    drain: Drain, meet: Callable[[int], None], stack: None
) -> None:
    urls = [f"/sync/{name}/" for name in "abcd"]
    meet(len(urls))
    with ThreadPoolExecutor(len(urls)) as threads:
        list(threads.map(wsgi, urls))
    assert contexts(drain()) == own(*urls)


@pytest.mark.parametrize("view", ["sync", "async"])
def test_a_thread_forgets_each_request_before_the_next(
    drain: Drain, meet: Callable[[int], None], stack: None, view: str
) -> None:
    urls = [f"/{view}/{name}/" for name in "ab"]
    meet(1)
    with ThreadPoolExecutor(1) as thread:
        for url in urls:
            thread.submit(wsgi, url).result(DEADLINE)
        thread.submit(create_and_close, "outside").result(DEADLINE)
    assert contexts(drain()) == {**own(*urls), "outside": no_context()}


def create_and_close(name: str) -> None:
    Category.objects.create(name=name)
    connection.close()


@pytest.mark.parametrize("view", ["sync", "async"])
def test_requests_at_once_in_tasks_keep_their_own_context(
    drain: Drain, meet: Callable[[int], None], stack: None, view: str
) -> None:
    urls = [f"/{view}/{name}/" for name in "abcd"]
    meet(len(urls))
    asyncio.run(together([asgi(url) for url in urls]))
    assert contexts(drain()) == own(*urls)


def test_tasks_that_share_a_thread_and_a_connection_keep_their_own_context(
    drain: Drain, meet: Callable[[int], None]
) -> None:
    urls = [f"/async/{name}/" for name in "abcd"]
    meet(len(urls))
    async_to_sync(together)([AsyncClient().post(url) for url in urls])
    assert contexts(drain()) == own(*urls)


@pytest.mark.parametrize("view", ["sync", "async"])
def test_a_task_forgets_each_request_before_the_next(
    drain: Drain, meet: Callable[[int], None], stack: None, view: str
) -> None:
    urls = [f"/{view}/{name}/" for name in "ab"]
    meet(1)

    async def one_task() -> None:
        for url in urls:
            assert (await AsyncClient().post(url)).status_code == 200
        await Category.objects.acreate(name="outside")

    async_to_sync(one_task)()
    assert contexts(drain()) == {**own(*urls), "outside": no_context()}


@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_a_context_that_a_view_sets_ends_with_its_request(
    drain: Drain, meet: Callable[[int], None], stack: None, server: str, view: str
) -> None:
    meet(1)
    replacing, following = f"/{view}_replacing/a/", f"/{view}/b/"
    if server == "wsgi":
        with ThreadPoolExecutor(1) as thread:
            list(thread.map(wsgi, [replacing, following]))
    else:
        client = AsyncClient()

        async def one_task() -> None:
            for url in (replacing, following):
                assert (await client.post(url)).status_code == 200

        async_to_sync(one_task)()
    replaced = {"replaced": "a"}
    assert contexts(drain()) == {"a before": replaced, "a after": replaced, **own(following)}
