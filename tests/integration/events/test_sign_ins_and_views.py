"""Log-ins and views of objects are recorded; whatever goes wrong, the request does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.mixins import UserPassesTestMixin
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connections, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views.generic import DetailView, View

from bemi_django import record as record_event
from bemi_django.events import emission
from bemi_django.events.views import RecordsViews, records_views
from bemi_django.log.blame import blame
from bemi_django.models import Change
from tests.shop.models import Category
from tests.support.pipeline import Drain


def brief(changes: list[Change]) -> list[tuple[str | None, str, str | None, dict[str, Any]]]:
    return [
        (one.context.get("event"), one.table, one.primary_key, one.context.get("details", {}))
        for one in changes
        if one.operation == "EVENT"
    ]


@pytest.fixture
def person(drain: Drain) -> Any:
    person = get_user_model().objects.create_user("ann", password="row-value")
    drain()
    return person


def test_log_ins_and_log_outs_are_recorded(drain: Drain, person: Any, settings: Any) -> None:
    settings.BEMI_AUTH_EVENTS = True
    client = Client()
    assert client.login(username="ann", password="row-value")
    assert not client.login(username="x" * 200, password="row-value")
    client.logout()
    assert brief(drain()) == [
        ("logged_in", "auth_user", str(person.pk), {}),
        ("login_failed", "events", None, {"username": "x" * 150}),
        ("logged_out", "auth_user", str(person.pk), {}),
    ]


def test_the_page_of_a_log_out_records_it(drain: Drain, person: Any, settings: Any) -> None:
    settings.BEMI_AUTH_EVENTS = True
    client = Client()
    client.force_login(person)
    drain()
    # request.user is a proxy of the user here.
    assert client.post("/accounts/logout/").status_code == 302
    assert "_auth_user_id" not in client.session
    assert brief(drain()) == [("logged_out", "auth_user", str(person.pk), {})]


def test_a_receiver_of_signals_fails_for_no_reason(
    person: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Lost:
        def db_for_write(self, model: Any, **hints: Any) -> str:
            raise KeyError("row-value")

    settings.BEMI_AUTH_EVENTS = True
    settings.DATABASE_ROUTERS = [Lost()]
    person._state.db = None
    user_logged_out.send(type(person), user=person)
    assert "'logged_out' was not recorded: KeyError" in caplog.text and "row-value" not in caplog.text


def test_a_proxy_is_taken_for_its_object(drain: Drain, person: Any) -> None:
    proxy: Any = SimpleLazyObject(lambda: person)
    person._state.db = None
    person.email = "ann@example.com"
    person.save()
    record_event("sent", proxy)
    assert brief(drain()) == [("sent", "auth_user", str(person.pk), {})]
    for related in (False, True):
        found = Change.objects.for_object(proxy, related=related)
        assert [one.operation for one in found] == ["CREATE", "UPDATE", "EVENT"]
    assert blame(proxy)["email"].value == "ann@example.com"


def test_a_failed_log_in_outlives_the_rollback_of_its_request(
    drain: Drain, person: Any, settings: Any
) -> None:
    settings.BEMI_AUTH_EVENTS = True
    with transaction.atomic():
        Category.objects.create(name="gone")
        Client().login(username="ann", password="wrong")
        transaction.set_rollback(True)
    assert brief(drain()) == [("login_failed", "events", None, {"username": "ann"})]


def test_by_default_nobody_is_watched(drain: Drain, person: Any) -> None:
    client = Client()
    client.login(username="ann", password="row-value")
    client.logout()
    assert brief(drain()) == []


@records_views(Category)
def shown(request: HttpRequest, pk: Any) -> HttpResponse:
    return HttpResponse("shown", status=200 if str(pk) != "404" else 404)


@records_views(Category, "category")
async def shown_async(request: HttpRequest, category: Any) -> HttpResponse:
    return HttpResponse("shown")


class CategoryView(RecordsViews, DetailView):  # type: ignore[type-arg]
    model = Category

    def render_to_response(self, context: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse("shown")


class CategoryLookup:
    def get_object(self) -> Category:
        return Category.objects.get()


@pytest.fixture
def category(drain: Drain) -> Category:
    category = Category.objects.create(name="Lamps")
    drain()
    return category


@pytest.mark.parametrize("as_text", [int, str])
def test_the_decorator_records_what_was_shown(
    drain: Drain, category: Category, as_text: Callable[[int], Any]
) -> None:
    factory = RequestFactory()
    assert shown(factory.get("/"), pk=as_text(category.pk)).content == b"shown"
    shown(factory.get("/"), as_text(category.pk))
    shown(factory.post("/"), pk=category.pk)
    shown(factory.get("/"), pk="404")
    shown(factory.get("/"), pk="no key")
    shown(factory.get("/"), pk=None)
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})] * 2


def test_decorators_around_the_view_may_change_its_arguments(
    drain: Drain, category: Category, caplog: pytest.LogCaptureFixture
) -> None:
    def passed_on(view: Any) -> Any:
        @wraps(view)
        def called(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return view(request, *args, **kwargs)

        return called

    def found(view: Any) -> Any:
        @wraps(view)
        def called(request: HttpRequest, name: str) -> Any:
            return view(request, pk=Category.objects.get(name=name))

        return called

    def shows(request: HttpRequest, pk: Any = None) -> HttpResponse:
        return HttpResponse("shown")

    request = RequestFactory().get("/")
    # Above, it makes the object from what the URL has; below, it is given what has another meaning.
    found(records_views(Category)(shows))(request, category.name)
    records_views(Category)(passed_on(shows))(request, category.pk)
    records_views(Category)(passed_on(shows))(request)
    assert not caplog.records
    for name in (category.name, str(category.pk)):
        Category.objects.update(name=name)
        records_views(Category)(passed_on(found(shows)))(request, name)
    assert "called without the argument 'pk'" in caplog.text
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})] * 2


def test_the_decorator_takes_coroutines(drain: Drain, category: Category) -> None:
    async def show() -> None:
        await shown_async(RequestFactory().get("/"), category.pk)
        await sync_to_async(connections.close_all)()

    async_to_sync(show)()
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})]


def test_the_mixin_records_what_is_shown(drain: Drain, category: Category) -> None:
    view = CategoryView.as_view()
    view(RequestFactory().get("/"), pk=category.pk)
    view(RequestFactory().head("/"), pk=category.pk)
    with pytest.raises(Http404):
        view(RequestFactory().get("/"), pk=10_000_000)
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})] * 2


def test_who_is_refused_has_seen_nothing(drain: Drain, category: Category) -> None:
    class Refused(RecordsViews, UserPassesTestMixin, DetailView):  # type: ignore[type-arg]
        model = Category
        raise_exception = True

        def test_func(self) -> bool:
            return self.get_object() is None

    class Redirected(CategoryView):
        def render_to_response(self, context: Any, **kwargs: Any) -> HttpResponse:
            return HttpResponse(status=self.request.GET.get("status"))

    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    with pytest.raises(PermissionDenied):
        Refused.as_view()(request, pk=category.pk)
    for status in (302, 403, 404, 500):
        Redirected.as_view()(RequestFactory().get("/", {"status": status}), pk=category.pk)
    assert drain() == []
    Redirected.as_view()(RequestFactory().get("/", {"status": 304}), pk=category.pk)
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})]


def test_an_object_that_is_found_twice_is_viewed_once(drain: Drain, category: Category) -> None:
    class Twice(CategoryView):
        def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
            super().setup(request, *args, **kwargs)
            self.get_object()

    Twice.as_view()(RequestFactory().get("/"), pk=category.pk)
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})]


def test_the_mixin_takes_coroutines(drain: Drain, category: Category) -> None:
    class Found:
        async def get_object(self) -> Category:
            return await Category.objects.aget(pk=category.pk)

    class AsyncView(RecordsViews, Found, View):
        async def get(self, request: HttpRequest, status: int) -> HttpResponse:
            await self.get_object()
            return HttpResponse(status=status)

    async def show() -> None:
        view: Any = AsyncView.as_view()
        for status in (403, 200):
            assert (await view(RequestFactory().get("/"), status=status)).status_code == status
        await sync_to_async(connections.close_all)()

    async_to_sync(show)()
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})]


def test_views_of_rest_framework_record_what_they_show(drain: Drain, category: Category) -> None:
    from rest_framework.permissions import BasePermission
    from rest_framework.response import Response
    from rest_framework.views import APIView

    class Asked(BasePermission):  # type: ignore[misc]
        def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
            return "allowed" in request.query_params

    class Api(RecordsViews, CategoryLookup, APIView):  # type: ignore[misc]
        permission_classes = (Asked,)
        authentication_classes = ()

        def get(self, request: Any) -> Response:
            self.check_object_permissions(request, self.get_object())
            return Response({})

    for address, status in (("/", 403), ("/?allowed", 200)):
        assert Api.as_view()(RequestFactory().get(address)).status_code == status
    assert brief(drain()) == [("viewed", "shop_category", str(category.pk), {})]


def test_a_refused_event_does_not_break_the_transaction(
    drain: Drain, category: Category, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The server cancels the statement of the event.
    slow = emission._EMIT.replace("SELECT CASE", "SELECT pg_catalog.pg_sleep(5) IS NULL, CASE")
    monkeypatch.setattr(emission, "_EMIT", slow)
    with transaction.atomic():
        Category.objects.create(name="Before")
        with connections["default"].cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 50")
        CategoryView.as_view()(RequestFactory().get("/"), pk=category.pk)
        with pytest.raises(OperationalError):
            record_event("sent", category)
        Category.objects.create(name="After")
    assert "the event 'viewed' was not recorded: OperationalError" in caplog.text
    assert [one.after["name"] for one in drain()] == ["Before", "After"]
