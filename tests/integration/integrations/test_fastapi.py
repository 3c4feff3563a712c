"""FastAPI and Starlette, alone and with Django under them and beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx2
import pytest
from django.core.asgi import get_asgi_application
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Mount
from starlette.testclient import TestClient

from bemi_django import bound_context, get_context
from bemi_django.integrations.fastapi import BemiFastAPIMiddleware
from bemi_django.models import Change
from tests.support.pipeline import Drain
from tests.support.processes import database_url

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

DJANGO = "tests.support.request_views"


@pytest.fixture
def engine(drain: Drain) -> Iterator[Any]:
    from bemi_django.capture.hooks import every_engine

    made = sqlalchemy.create_engine(database_url("postgresql+psycopg2"), future=True)
    yield made
    made.dispose()
    every_engine.uninstall()


@pytest.fixture
def django_application(settings: Any) -> Any:
    settings.ROOT_URLCONF = DJANGO
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.MIDDLEWARE = ["bemi_django.middleware.BemiMiddleware"]
    settings.BEMI_CONTEXT_FUNCTION = f"{DJANGO}.context_of"
    return get_asgi_application()


def context_of(request: Request) -> dict[str, Any]:
    return {"user_id": request.state.user_id, "endpoint": request.url.path, "method": request.method}


async def async_context_of(request: Request) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"endpoint": request.url.path, "method": request.method}


def authenticate(connection: HTTPConnection, user: int = 0) -> None:
    connection.state.user_id = user


def application(engine: Any, set_context: Any = context_of, **options: Any) -> FastAPI:
    app = FastAPI(dependencies=[Depends(authenticate)])
    app.add_middleware(BemiFastAPIMiddleware, set_context=set_context, **options)

    def write(task: str) -> None:
        statement = "INSERT INTO todo (task, is_completed, created_at) VALUES (:task, false, now())"
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement), {"task": task})

    @app.post("/sync/{task}")
    def sync_endpoint(task: str) -> None:
        write(task)

    @app.post("/async/{task}")
    async def async_endpoint(task: str) -> None:
        await asyncio.sleep(0)
        write(task)

    @app.post("/threads/{task}")
    async def threads(task: str) -> None:
        await asyncio.gather(run_in_threadpool(write, task), run_in_threadpool(write, task))

    @app.post("/background/{task}")
    async def background(task: str, tasks: BackgroundTasks) -> None:
        async def later() -> None:
            await asyncio.sleep(0)
            write(task)

        tasks.add_task(write, task)
        tasks.add_task(later)

    @app.post("/stream/{task}")
    def stream(task: str) -> StreamingResponse:
        def body() -> Iterator[str]:
            write(task)
            yield "a"
            write(task)

        return StreamingResponse(body())

    @app.post("/async-stream/{task}")
    async def async_stream(task: str) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            with bound_context(step=1):
                yield "a"
                write(task)

        return StreamingResponse(body())

    @app.websocket("/socket/{task}")
    async def socket(socket: WebSocket, task: str) -> None:
        await socket.accept()
        write(await socket.receive_text())
        await socket.close()

    return app


def post(app: Any, *paths: str, headers: Mapping[str, str] | None = None) -> None:
    """All at once."""

    async def requests() -> None:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            answers = await asyncio.gather(*(client.post(path, headers=headers) for path in paths))
        assert {answer.status_code for answer in answers} == {200}
        assert get_context() == {}

    asyncio.run(requests())


def contexts(changes: list[Change]) -> dict[str, list[dict[str, Any]]]:
    """By the task that was written, without the statement."""
    found: dict[str, list[dict[str, Any]]] = {}
    for change in changes:
        context = {key: value for key, value in change.context.items() if key != "SQL"}
        found.setdefault(change.after["task"], []).append(context)
    return found


KINDS = {"sync": 1, "async": 1, "threads": 2, "background": 2, "stream": 2, "async-stream": 1}


def test_concurrent_requests_of_every_kind_have_their_own_context(drain: Drain, engine: Any) -> None:
    paths = [f"/{kind}/{kind}-{user}?user={user}" for kind in KINDS for user in range(5)]
    post(application(engine), *paths)
    found = contexts(drain())
    assert len({context["request_id"] for written in found.values() for context in written}) == len(paths)
    for kind, writes in KINDS.items():
        for user in range(5):
            written = found.pop(f"{kind}-{user}")
            ids = {context.pop("request_id") for context in written}
            assert len(ids) == 1
            expected: dict[str, Any] = {
                "user_id": user,
                "endpoint": f"/{kind}/{kind}-{user}",
                "method": "POST",
            }
            if kind == "async-stream":
                expected["step"] = 1
            assert written == [expected] * writes
    assert found == {}


def test_a_websocket_has_a_context(drain: Drain, engine: Any) -> None:
    with (
        TestClient(application(engine)) as client,
        client.websocket_connect("/socket/x?user=9", headers={"X-Request-ID": "abc"}) as socket,
    ):
        socket.send_text("from a socket")
        assert socket.receive()["type"] == "websocket.close"
    ((context,),) = contexts(drain()).values()
    assert len(context.pop("request_id")) == 32
    assert context == {
        "client_request_id": "abc", "user_id": 9, "endpoint": "/socket/x", "method": "GET"
    }  # fmt: skip


def test_an_async_set_context_is_awaited_when_the_request_begins(drain: Drain, engine: Any) -> None:
    paths = [f"/{kind}/{kind}" for kind in KINDS]
    post(application(engine, async_context_of), *paths, headers={"X-Request-ID": "abc"})
    for kind, written in contexts(drain()).items():
        assert {context["endpoint"] for context in written} == {f"/{kind}/{kind}"}
        assert {context["client_request_id"] for context in written} == {"abc"}


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_set_context_that_fails_costs_the_context_not_the_request(
    drain: Drain, engine: Any, caplog: pytest.LogCaptureFixture, is_declared: bool
) -> None:
    async def failing(request: Request) -> dict[str, Any]:
        raise ValueError("no")

    post(application(engine, failing if is_declared else lambda request: failing(request)), "/sync/x")
    (context,) = contexts(drain())["x"]
    assert list(context) == ["request_id"]
    assert ("set_context failed" if is_declared else "context function failed") in caplog.text


def test_the_address_is_that_of_who_is_no_trusted_proxy(drain: Drain, engine: Any) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    post(application(engine), "/sync/nobody", headers=headers)
    post(application(engine, trusted_proxies=1), "/sync/one", headers=headers)
    post(application(engine, async_context_of, trusted_proxies=["127.0.0.0/8"]), "/sync/net", headers=headers)
    post(application(engine, trusted_proxies=[]), "/sync/none", headers=headers)
    found = contexts(drain())
    assert "ip" not in found["nobody"][0]
    assert found["one"][0]["ip"] == found["net"][0]["ip"] == "203.0.113.7"
    assert found["none"][0]["ip"] == "127.0.0.1"


def test_a_middleware_that_runs_the_application_in_another_task_changes_nothing(
    drain: Drain, engine: Any
) -> None:
    async def dispatch(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    app = application(engine)
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    around = Starlette(routes=[Mount("/", application(engine))])
    around.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    post(app, "/sync/a?user=1", "/background/b?user=2")
    post(around, "/stream/c?user=3")
    users = {task: [context["user_id"] for context in written] for task, written in contexts(drain()).items()}
    assert users == {"a": [1], "b": [2, 2], "c": [3, 3]}


def test_django_under_fastapi_is_one_request_with_one_context(
    drain: Drain, engine: Any, django_application: Any
) -> None:
    app = application(engine, lambda request: {"user_id": 7, "endpoint": request.url.path, "case": None})
    app.mount("/django", django_application)
    post(app, "/django/sync_view/?case=a", "/django/async_stream/?case=b")
    found = contexts(drain())
    for case, view in (("a", "sync_view"), ("b", "async_stream")):
        ids = {context.pop("request_id") for context in found[case]}
        assert len(ids) == 1
        assert found[case][0] == {"user_id": 7, "endpoint": f"/django/{view}/", "case": case}


def test_django_beside_fastapi_has_its_own_context(
    drain: Drain, engine: Any, django_application: Any
) -> None:
    app = Starlette(routes=[Mount("/api", application(engine)), Mount("/", django_application)])
    post(app, "/api/sync/a?user=1", "/async_view/?case=b", headers={"X-Request-ID": "abc"})
    found = contexts(drain())
    ids = [found[case][0].pop("request_id") for case in "ab"]
    assert ids[0] != ids[1]
    assert found == {
        "a": [{"client_request_id": "abc", "user_id": 1, "endpoint": "/api/sync/a", "method": "POST"}],
        "b": [{"client_request_id": "abc", "case": "b"}],
    }


@pytest.mark.parametrize(
    ("proxies", "trusts", "is_trusted"),
    [(None, False, False), (1, False, False), (1, True, True), (["10.0.0.0/8"], True, False)],
)
def test_the_header_is_the_id_of_the_request_only_from_a_trusted_proxy(
    drain: Drain, engine: Any, proxies: Any, trusts: bool, is_trusted: bool
) -> None:
    app = application(engine, trusted_proxies=proxies, trust_request_id=trusts)
    post(app, "/sync/a", "/sync/b", headers={"X-Request-ID": "abc"})
    found = [context for written in contexts(drain()).values() for context in written]
    assert [context.get("client_request_id") for context in found] == [None if is_trusted else "abc"] * 2
    ids = {context["request_id"] for context in found}
    assert ids == {"abc"} if is_trusted else len(ids) == 2 and "abc" not in ids


@pytest.mark.parametrize("proxies", [None, [], 0])
def test_an_id_cannot_be_trusted_without_a_proxy(engine: Any, proxies: Any) -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        BemiFastAPIMiddleware(application(engine), context_of, proxies, trust_request_id=True)
