"""Async views, where asking for request.user may need the database."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from bemi_django import get_context
from bemi_django.capture.warn_once import warn_once
from sample_project.todos.models import Todo
from tests.support.pipeline import Drain
from tests.support.processes import database_url

sqlalchemy: Any = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
DRIVERS = [driver for driver in ("psycopg", "asyncpg") if importlib.util.find_spec(driver)]
if sqlalchemy.__version__.startswith("1."):
    DRIVERS = [driver for driver in DRIVERS if driver != "psycopg"]
if importlib.util.find_spec("greenlet") is None:
    DRIVERS = []

INSERT = "INSERT INTO todo (task, is_completed, created_at) VALUES (:task, false, now())"
Write = Callable[[HttpRequest], Awaitable[None]]
writes: dict[str, Write] = {}


async def knowing(request: HttpRequest) -> HttpResponse:
    """Write after the view has asked for the user."""
    await request.auser()
    return await unknowing(request)


async def unknowing(request: HttpRequest) -> HttpResponse:
    await writes["write"](request)
    return HttpResponse()


async def looking(request: HttpRequest) -> HttpResponse:
    """Look at the context, then write where the user can be asked for."""
    seen = get_context()
    assert (seen["method"], seen["path"], seen["user_id"]) == ("GET", "/looking/", None)
    await Todo.objects.acreate(task="x")
    return HttpResponse()


urlpatterns = [path(f"{view.__name__}/", view) for view in (knowing, unknowing, looking)]


def user_of(request: HttpRequest) -> Mapping[str, Any]:
    return {"user_id": request.user.pk, "name": str(request.user), "method": request.method}


async def auser_of(request: HttpRequest) -> Mapping[str, Any]:
    user = await request.auser()
    return {"user_id": user.pk, "name": str(user)}


@pytest.fixture
def user(drain: Drain, settings: Any) -> Iterator[User]:
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.BEMI_CONTEXT_FUNCTION = None
    made = User.objects.create_user("ann")
    drain()
    warn_once.cache_clear()
    yield made


def get(user: User | None, *paths: str) -> None:
    client = Client()
    if user:
        client.force_login(user)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}

    async def requests() -> None:
        application: Any = get_asgi_application()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(application), base_url="http://testserver", cookies=cookies
        ) as browser:
            for url in paths:
                assert (await browser.get(url)).status_code == 200

    asyncio.run(requests())


def contexts(drain: Drain) -> list[dict[str, Any]]:
    found = [change.context for change in drain() if change.table == "todo"]
    for context in found:
        assert context.pop("SQL") and context.pop("request_id")
    return found


@pytest.fixture(params=DRIVERS)
def by_async_engine(request: pytest.FixtureRequest) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    from bemi_django.capture.hooks.sqlalchemy_engine import install

    async def write(_: HttpRequest) -> None:
        engine = create_async_engine(database_url(f"postgresql+{request.param}"))
        install(engine)

        async def insert(task: str) -> None:
            async with engine.begin() as opened:
                await opened.execute(sqlalchemy.text(INSERT), {"task": task})

        # At once: while one write waits for the user, the other one asks too.
        await asyncio.gather(insert("a"), insert("b"))
        await engine.dispose()

    writes["write"] = write


@pytest.fixture
def by_sync_engine() -> None:
    from bemi_django.capture.hooks.sqlalchemy_engine import install

    async def write(_: HttpRequest) -> None:
        engine = sqlalchemy.create_engine(database_url("postgresql+psycopg2"), future=True)
        install(engine)
        with engine.begin() as opened:
            opened.execute(sqlalchemy.text(INSERT), {"task": "a"})
        engine.dispose()

    writes["write"] = write


@pytest.mark.parametrize("view", ["knowing", "unknowing"])
def test_an_async_engine_waits_for_the_user(
    drain: Drain, user: User, by_async_engine: None, caplog: pytest.LogCaptureFixture, view: str
) -> None:
    get(user, f"/{view}/")
    assert contexts(drain) == [{"user_id": user.pk, "method": "GET", "path": f"/{view}/"}] * 2
    assert caplog.records == []


def test_an_async_engine_waits_for_a_context_function(
    drain: Drain, user: User, by_async_engine: None, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BEMI_CONTEXT_FUNCTION = f"{__name__}.user_of"
    get(user, "/unknowing/")
    assert contexts(drain) == [{"user_id": user.pk, "name": "ann", "method": "GET"}] * 2
    assert caplog.records == []


@pytest.mark.parametrize("function", [None, "user_of"])
@pytest.mark.parametrize("view", ["knowing", "unknowing"])
def test_a_write_that_cannot_wait_has_what_is_known(
    drain: Drain,
    user: User,
    by_sync_engine: None,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    view: str,
    function: str | None,
) -> None:
    settings.BEMI_CONTEXT_FUNCTION = function and f"{__name__}.{function}"
    get(user, f"/{view}/", f"/{view}/")
    known = user.pk if view == "knowing" else None
    assert contexts(drain) == [{"user_id": known, "method": "GET", "path": f"/{view}/"}] * 2
    # Once for the process, not for each write.
    assert len(caplog.records) == (function is not None)
    assert not any(record.exc_info for record in caplog.records)


def test_what_a_look_could_not_know_the_next_write_asks_for(drain: Drain, user: User) -> None:
    get(user, "/looking/")
    assert contexts(drain) == [{"user_id": user.pk, "method": "GET", "path": "/looking/"}]


def test_an_async_context_function_is_awaited_in_an_async_request(
    drain: Drain, user: User, by_sync_engine: None, settings: Any
) -> None:
    settings.BEMI_CONTEXT_FUNCTION = f"{__name__}.auser_of"
    get(user, "/unknowing/")
    assert contexts(drain) == [{"user_id": user.pk, "name": "ann"}]


def test_nobody_is_a_user_of_no_request(drain: Drain, user: User, by_async_engine: None) -> None:
    get(None, "/unknowing/", "/knowing/")
    assert [context["user_id"] for context in contexts(drain)] == [None] * 4
