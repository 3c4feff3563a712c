from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from bemi_django import get_context
from bemi_django.middleware import BemiMiddleware, default_context


def named(request: HttpRequest) -> Mapping[str, Any]:
    return {"user": getattr(request, "late_user", None), "path": request.path}


@pytest.fixture(autouse=True)
def _context_function(settings: Any) -> None:
    settings.BEMI_CONTEXT_FUNCTION = "tests.integration.test_middleware.named"


def test_a_user_set_late_is_the_one_recorded(rf: RequestFactory) -> None:
    seen = {}

    def view(request: HttpRequest) -> HttpResponse:
        request.late_user = "ann"  # type: ignore[attr-defined]
        seen.update(get_context())
        return HttpResponse()

    BemiMiddleware(view)(rf.get("/x"))
    assert seen == {"user": "ann", "path": "/x"}
    assert get_context() == {}


def test_the_context_ends_with_a_request_that_fails(rf: RequestFactory) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        BemiMiddleware(view)(rf.get("/x"))
    assert get_context() == {}


def test_concurrent_async_requests_keep_their_own_context(rf: RequestFactory) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        path = get_context()["path"]
        await asyncio.sleep(0)
        assert get_context()["path"] == path
        return HttpResponse(path)

    async def both() -> list[Any]:
        middleware: Any = BemiMiddleware(view)
        return await asyncio.gather(*(middleware(rf.get(f"/{number}")) for number in range(5)))

    responses = asyncio.run(both())
    assert [response.content for response in responses] == [f"/{number}".encode() for number in range(5)]


def test_the_default_context_names_user_method_path_and_request(rf: RequestFactory) -> None:
    found = default_context(rf.post("/x", headers={"X-Request-ID": "abc"}))
    assert found == {"user_id": None, "method": "POST", "path": "/x", "request_id": "abc"}
    made = default_context(rf.get("/x", headers={"X-Request-ID": "not one\n"}))["request_id"]
    assert len(made) == 32


def test_a_request_keeps_the_id_that_was_made_for_it(rf: RequestFactory) -> None:
    request = rf.get("/x")
    assert default_context(request)["request_id"] == default_context(request)["request_id"]
