"""Django's own handlers, WSGI and ASGI, with every kind of view, middleware and body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from bemi_django import get_context
from tests.support.pipeline import Drain
from tests.support.request_views import VIEWS

HERE = "tests.support.request_views"
OURS = "bemi_django.middleware.BemiMiddleware"
SYNC, ASYNC = f"{HERE}.sync_middleware", f"{HERE}.AsyncMiddleware"
STACKS = {
    "alone": [OURS],
    "sync around": [SYNC, OURS, SYNC],
    "async around": [ASYNC, OURS, ASYNC],
    "sync, ours, async": [SYNC, OURS, ASYNC],
    "async, ours, sync": [ASYNC, OURS, SYNC],
    "compressed": ["django.middleware.gzip.GZipMiddleware", OURS],
}
STREAMS = {"sync_stream", "async_stream"}
# Django warns of an iterator of the other kind, which it consumes before it sends it.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")


def wsgi(cases: list[tuple[str, str]]) -> None:
    with httpx2.Client(
        transport=httpx2.WSGITransport(get_wsgi_application()), base_url="http://testserver"
    ) as client:
        for view, case in cases:
            answer = client.get(f"/{view}/", params={"case": case}, headers={"X-Request-ID": case})
            assert answer.status_code == 200
            assert get_context() == {}


def asgi(cases: list[tuple[str, str]]) -> None:
    """All at once."""

    async def requests() -> None:
        application: Any = get_asgi_application()
        transport = httpx2.ASGITransport(application)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            answers = await asyncio.gather(
                *(
                    client.get(f"/{view}/", params={"case": case}, headers={"X-Request-ID": case})
                    for view, case in cases
                )
            )
        assert {answer.status_code for answer in answers} == {200}
        assert get_context() == {}

    asyncio.run(requests())


@pytest.mark.urls(HERE)
@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("serve", [wsgi, asgi])
def test_every_write_of_a_request_has_its_context(
    drain: Drain, settings: Any, serve: Callable[[list[tuple[str, str]]], None], stack: list[str]
) -> None:
    settings.MIDDLEWARE = stack
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.BEMI_CONTEXT_FUNCTION = f"{HERE}.context_of"
    serve([(view.__name__, view.__name__) for view in VIEWS])

    found: dict[str, list[dict[str, Any]]] = {}
    ids: dict[str, set[str]] = {}
    for change in drain():
        assert change.context.pop("SQL").startswith("INSERT")
        if change.after["task"] != "replaced":
            ids.setdefault(change.after["task"], set()).add(change.context.pop("request_id"))
        found.setdefault(change.after["task"], []).append(change.context)
    expected: dict[str, list[dict[str, Any]]] = {}
    for view in VIEWS:
        name = view.__name__
        context = {"case": name, "client_request_id": name}
        expected[name] = [context]
        if name in STREAMS:
            expected[name].append({**context, "step": 2})
        if name == "tasks":
            expected[name].append(context)
    expected["replaced"] = [{"case": "replaced", "replaced": True}]
    assert found == expected
    # All writes of a request have its id, and no other request has it.
    assert sorted(map(len, ids.values())) == [1] * len(ids)
    assert len(set.union(*ids.values())) == len(ids)
