from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.urls import ResolverMatch

from bemi_django import bound_context, get_context
from bemi_django.middleware import BemiMiddleware, default_context, request_id
from tests.support.pipeline import Drain


def named(request: HttpRequest) -> Mapping[str, Any]:
    return {"user": getattr(request, "late_user", None), "path": request.path}


@pytest.fixture(autouse=True)
def _context_function(settings: Any) -> None:
    settings.BEMI_CONTEXT_FUNCTION = "tests.integration.capture.test_middleware.named"


def test_a_user_set_late_is_the_one_recorded(rf: RequestFactory) -> None:
    seen = {}

    def view(request: HttpRequest) -> HttpResponse:
        request.late_user = "ann"  # type: ignore[attr-defined]
        seen.update(get_context())
        return HttpResponse()

    request = rf.get("/x")
    BemiMiddleware(view)(request)
    assert seen == {"user": "ann", "path": "/x", "request_id": request_id(request)}
    assert get_context() == {}


def test_a_path_is_kept_without_what_its_pattern_calls_a_secret(rf: RequestFactory) -> None:
    request = rf.get("/reset/MQ/b7x-5f0c2a/")
    assert default_context(request)["path"] == "/reset/MQ/b7x-5f0c2a/"
    request.resolver_match = ResolverMatch(lambda: None, (), {"uidb64": "MQ", "token": "b7x-5f0c2a"})
    assert default_context(request)["path"] == "/reset/MQ/***/"
    request.resolver_match = ResolverMatch(lambda: None, (), {"pk": 5, "secret": ""})
    assert default_context(request)["path"] == "/reset/MQ/b7x-5f0c2a/"


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


def test_without_a_function_user_method_path_and_request_are_named(
    rf: RequestFactory, settings: Any, django_user_model: Any
) -> None:
    settings.BEMI_CONTEXT_FUNCTION = None
    request = rf.post("/x")
    assert seen_by_view(request) == {
        "user_id": None, "method": "POST", "path": "/x", "request_id": request_id(request)
    }  # fmt: skip
    request.user = django_user_model(pk=7)
    assert seen_by_view(request)["user_id"] == 7


@pytest.mark.parametrize("header", ["", "not one", "x" * 201, "\n"])
def test_a_request_without_an_id_is_given_one_that_it_keeps(rf: RequestFactory, header: str) -> None:
    request = rf.get("/x", headers={"X-Request-ID": header})
    made = request_id(request)
    assert re.fullmatch("[0-9a-f]{32}", made)
    seen = seen_by_view(request)
    assert seen["request_id"] == request_id(request) == made
    assert "client_request_id" not in seen


def test_the_id_that_a_client_sends_is_kept_beside_ours(rf: RequestFactory) -> None:
    requests = [rf.get("/x", headers={"X-Request-ID": "abc"}) for _ in range(2)]
    seen = [seen_by_view(request) for request in requests]
    assert [context["client_request_id"] for context in seen] == ["abc", "abc"]
    ids = [context["request_id"] for context in seen]
    assert ids == [request_id(request) for request in requests]
    assert ids[0] != ids[1] and "abc" not in ids


@pytest.mark.parametrize(
    ("proxies", "remote", "is_trusted"),
    [
        (None, "127.0.0.1", False),
        ([], "127.0.0.1", False),
        (0, "127.0.0.1", False),
        (1, "203.0.113.7", True),
        (["127.0.0.0/8"], "127.0.0.1", True),
        (["127.0.0.0/8"], "203.0.113.7", False),
        (["unix:"], "", True),
        (["127.0.0.0/8"], "", False),
    ],
)
def test_the_id_that_a_trusted_proxy_sends_may_be_trusted(
    rf: RequestFactory, settings: Any, proxies: Any, remote: str, is_trusted: bool
) -> None:
    settings.BEMI_TRUST_REQUEST_ID = True
    settings.BEMI_TRUSTED_PROXIES = proxies
    request = rf.get("/x", headers={"X-Request-ID": "abc"}, REMOTE_ADDR=remote)
    seen = seen_by_view(request)
    assert (seen["request_id"] == "abc") is is_trusted
    assert seen.get("client_request_id") == (None if is_trusted else "abc")


def test_the_function_may_choose_the_id_of_the_request(rf: RequestFactory, settings: Any) -> None:
    settings.BEMI_CONTEXT_FUNCTION = "tests.integration.capture.test_middleware.numbered"
    assert seen_by_view(rf.get("/x")) == {"request_id": 1}


def test_a_request_inside_a_context_that_has_an_id_is_part_of_it(rf: RequestFactory) -> None:
    with bound_context(request_id="outer"):
        assert seen_by_view(rf.get("/x", headers={"X-Request-ID": "abc"}))["request_id"] == "outer"


@pytest.mark.parametrize(
    ("proxies", "address"),
    [
        (None, None),
        ([], "127.0.0.1"),
        (1, "203.0.113.7"),
        (["127.0.0.0/8"], "203.0.113.7"),
        (["unix:"], "127.0.0.1"),
    ],
)
def test_the_address_needs_to_know_the_proxies(
    rf: RequestFactory, settings: Any, proxies: Any, address: str | None
) -> None:
    settings.BEMI_TRUSTED_PROXIES = proxies
    request = rf.get("/x", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.7"})
    assert seen_by_view(request).get("ip") == address


def test_an_address_that_nobody_knows_is_left_out(rf: RequestFactory, settings: Any) -> None:
    settings.BEMI_TRUSTED_PROXIES = 1
    assert "ip" not in seen_by_view(rf.get("/x", headers={"X-Forwarded-For": "unknown"}))


def test_a_file_is_left_to_the_server(rf: RequestFactory, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with (tmp_path / "file").open("rb") as file:
        response: Any = BemiMiddleware(lambda request: FileResponse(file))(rf.get("/x"))
        assert response.file_to_stream is file


@pytest.mark.django_db
def test_a_stream_that_is_closed_early_ends_in_the_context_of_its_request(rf: RequestFactory) -> None:
    seen = []

    def body() -> Iterator[str]:
        try:
            with bound_context(step=2):
                yield "a"
        finally:
            seen.append(get_context())

    response: Any = BemiMiddleware(lambda request: StreamingHttpResponse(body()))(rf.get("/x"))
    assert next(iter(response.streaming_content)) == b"a"
    response.close()
    assert "request_id" in seen[0] and "step" not in seen[0]


@pytest.mark.django_db(transaction=True)
def test_who_logs_in_is_recorded_though_the_session_was_written_before(
    drain: Drain, settings: Any, client: Client, django_user_model: Any
) -> None:
    settings.BEMI_CONTEXT_FUNCTION = None
    user = django_user_model.objects.create_user("ann", password="secret")
    drain()
    client.post("/accounts/login/", {"username": "ann", "password": "secret"})
    (change,) = drain()
    assert set(change.diff()) == {"last_login"}
    assert change.context["user_id"] == user.pk


def numbered(request: HttpRequest) -> Mapping[str, Any]:
    return {"request_id": 1}


def seen_by_view(request: HttpRequest) -> dict[str, Any]:
    seen = {}

    def view(request: HttpRequest) -> HttpResponse:
        seen.update(get_context())
        return HttpResponse()

    BemiMiddleware(view)(request)
    return seen


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("BEMI_CONTEXT_FUNCTION", "nowhere.named", {"request_id"}),
        ("BEMI_CONTEXT_FUNCTION", "nowhere", {"request_id"}),
        ("BEMI_TRUSTED_PROXIES", "no network", {"request_id", "client_request_id", "user", "path"}),
        ("BEMI_TRUSTED_PROXIES", [7], {"request_id", "client_request_id", "user", "path"}),
    ],
)
def test_a_wrong_setting_fails_no_request(
    rf: RequestFactory, settings: Any, name: str, value: Any, known: set[str], is_async: bool
) -> None:
    settings.BEMI_TRUST_REQUEST_ID = True
    setattr(settings, name, value)
    seen: dict[str, Any] = {}

    def view(request: HttpRequest) -> HttpResponse:
        seen.update(get_context())
        return HttpResponse()

    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    headers = {"X-Request-ID": "r7"} if "PROXIES" in name else {}
    answer: Any = BemiMiddleware(async_view if is_async else view)(rf.get("/x", headers=headers))
    assert (asyncio.run(answer) if is_async else answer).status_code == 200
    assert set(seen) == known and seen["request_id"] != "r7"
